//! Settings: flags, each with an environment variable.
//! In: the command line. Out: [`Config`], or [`Uninstall`]. Must not happen here: a look at the machine.
//! With a source directory there is no API server: nothing is looked up and no plugin installed unless asked.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser};

use crate::install::PluginSettings;
use crate::install::files::Files;

/// What to do.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Run until stopped.
    Run(Box<Config>),
    /// Take this node out of the mesh by hand.
    Uninstall(Uninstall),
}

/// Node agent: enrolls pods, serves the CNI plugin and ZDS, heals capture.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ambit-agent",
    version,
    after_help = "`ambit-agent uninstall-cni` takes a node out of the mesh whose agent is gone; see its --help."
)]
pub struct Config {
    /// Where things are on this node.
    #[command(flatten)]
    pub node: NodePaths,
    /// This node, as `spec.nodeName` of pods has it.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// Directory of YAML files: the source of pods and namespaces, and where statuses go. Without one
    /// the API server is the source.
    #[arg(long, env = "AMBIT_SOURCE_DIR")]
    pub source_dir: Option<PathBuf>,
    /// How to reach the API server; by default as the pod this runs in does.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the mesh's own pods.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub pod_namespace: String,
    /// The DaemonSet this runs in: when at the end it is gone, or wants no pod on this node, so is the mesh there.
    #[arg(long, env = "AMBIT_DAEMON_SET", default_value = "ambit-cni-node")]
    pub daemon_set: String,
    /// The proxy's DaemonSet, in the same namespace: where it wants no pod on this node, pods stay outside.
    #[arg(long, env = "AMBIT_PROXY_DAEMON_SET", default_value = "ztunnel")]
    pub proxy_daemon_set: String,
    /// Cgroup of the node proxy, whose connections are never captured. By default, with the API server
    /// as the source, those of the pods labelled `app=ztunnel` in the mesh's namespace.
    #[arg(long, env = "AMBIT_PROXY_CGROUP")]
    pub proxy_cgroup: Option<PathBuf>,
    /// Cgroup of all pods; connections of the node from outside of it are probes. Found by itself with
    /// the API server as the source.
    #[arg(long, env = "AMBIT_KUBEPODS_CGROUP")]
    pub kubepods_cgroup: Option<PathBuf>,
    /// The host's procfs, whose `sys` is writable: `/host/proc` in a container.
    #[arg(long, env = "AMBIT_PROC", default_value = "/proc")]
    pub proc: PathBuf,
    /// Where the container runtime keeps network namespaces by name.
    #[arg(long, env = "AMBIT_NETNS_DIR", default_value = "/var/run/netns")]
    pub netns_dir: PathBuf,
    /// Where node proxies connect.
    #[arg(
        long,
        env = "AMBIT_ZDS_SOCKET",
        default_value = "/var/run/ztunnel/ztunnel.sock"
    )]
    pub zds_socket: PathBuf,
    /// The plugin to install.
    #[arg(
        long,
        env = "AMBIT_CNI_BINARY",
        default_value = "/usr/local/bin/ambit-cni"
    )]
    pub cni_binary: PathBuf,
    /// Metrics and the debug page.
    #[arg(long, env = "AMBIT_METRICS_ADDR", default_value = "[::]:15014")]
    pub metrics_addr: SocketAddr,
    /// Readiness.
    #[arg(long, env = "AMBIT_READY_ADDR", default_value = "[::]:8000")]
    pub ready_addr: SocketAddr,
    /// Nameservers of pods, whose UDP queries the proxy answers. By default, with the API server as the
    /// source, the address of the Service `kube-system/kube-dns`.
    #[arg(long, env = "AMBIT_NAMESERVERS", value_delimiter = ',')]
    pub nameservers: Vec<Ipv4Addr>,
    /// Namespaces that are never in the mesh.
    #[arg(
        long,
        env = "AMBIT_EXCLUDE_NAMESPACES",
        value_delimiter = ',',
        default_value = "kube-system"
    )]
    pub exclude_namespaces: Vec<String>,
    /// Log filter, as `info,ambit_agent=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

/// Where things are on the node, as this process sees them.
#[derive(Debug, Clone, Args)]
pub struct NodePaths {
    /// Cgroup2 directory below which connections are captured.
    #[arg(long, env = "AMBIT_CGROUP_ROOT", default_value = "/sys/fs/cgroup")]
    pub cgroup_root: PathBuf,
    /// Directory on a bpffs for programs, maps and links.
    #[arg(long, env = "AMBIT_PIN_ROOT", default_value = "/sys/fs/bpf/ambit")]
    pub pin_root: PathBuf,
    /// The node's own network namespace, never enrolled.
    #[arg(long, env = "AMBIT_NODE_NETNS", default_value = "/proc/1/ns/net")]
    pub node_netns: PathBuf,
    /// Journal and the CNI plugin's state file (`state.json`); at the same path on the node.
    #[arg(long, env = "AMBIT_RUN_DIR", default_value = "/var/run/ambit")]
    pub run_dir: PathBuf,
    /// Where the CNI plugin connects; at the same path on the node.
    #[arg(
        long,
        env = "AMBIT_CNI_SOCKET",
        default_value = "/var/run/ambit/cni.sock"
    )]
    pub cni_socket: PathBuf,
    /// Where the node's plugins are; by default `/host/opt/cni/bin`, and with a source directory no
    /// plugin is installed.
    #[arg(long, env = "AMBIT_CNI_BIN_DIR")]
    pub cni_bin_dir: Option<PathBuf>,
    /// Where the node's network configurations are.
    #[arg(
        long,
        env = "AMBIT_CNI_CONF_DIR",
        default_value = "/host/etc/cni/net.d"
    )]
    pub cni_conf_dir: PathBuf,
}

/// Takes a node out of the mesh whose agent is gone: our plugin out of the chain, its binary away, every
/// pod's rules and routes removed, all programs and maps unpinned.
#[derive(Debug, Clone, Parser)]
#[command(name = "ambit-agent uninstall-cni", version)]
pub struct Uninstall {
    /// Where things are on this node.
    #[command(flatten)]
    pub node: NodePaths,
    /// Log filter.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

impl Invocation {
    /// Reads a command line, program name first; ends the process if it is wrong or asks for help.
    pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments: Vec<_> = arguments.into_iter().collect();
        if arguments.get(1).is_some_and(|first| first == UNINSTALL) {
            arguments.remove(1);
            return Self::Uninstall(Uninstall::parse_from(arguments));
        }
        Self::Run(Box::new(Config::parse_from(arguments)))
    }

    /// Log filter.
    pub fn log(&self) -> &str {
        match self {
            Self::Run(config) => &config.log,
            Self::Uninstall(uninstall) => &uninstall.log,
        }
    }
}

impl Config {
    /// What to install where; `None` if nothing is.
    pub fn installation(&self) -> Option<(Files, PluginSettings)> {
        let bin_dir = match (&self.node.cni_bin_dir, &self.source_dir) {
            (Some(dir), _) => dir.clone(),
            (None, None) => DEFAULT_BIN_DIR.into(),
            (None, Some(_)) => return None,
        };
        let files = Files {
            conf_dir: self.node.cni_conf_dir.clone(),
            bin_dir,
            binary: self.cni_binary.clone(),
        };
        let settings = PluginSettings {
            agent_socket: self.node.cni_socket.clone(),
            state_file: self.node.state_file(),
            exclude_namespaces: self.exclude_namespaces.clone(),
            system_namespace: self.pod_namespace.clone(),
        };
        Some((files, settings))
    }
}

impl NodePaths {
    /// State file of the CNI plugin.
    pub fn state_file(&self) -> PathBuf {
        self.run_dir.join("state.json")
    }

    /// Where the plugin is, for taking it away.
    pub fn files(&self) -> Files {
        let default = || DEFAULT_BIN_DIR.into();
        Files {
            conf_dir: self.cni_conf_dir.clone(),
            bin_dir: self.cni_bin_dir.clone().unwrap_or_else(default),
            binary: PathBuf::new(),
        }
    }
}

const UNINSTALL: &str = "uninstall-cni";
const DEFAULT_BIN_DIR: &str = "/host/opt/cni/bin";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(flags: &[&str]) -> Config {
        Config::try_parse_from([&["ambit-agent", "--node-name=n"], flags].concat()).unwrap()
    }

    #[test]
    fn the_flags_fit_each_other() {
        Config::command().debug_assert();
        Uninstall::command().debug_assert();
    }

    #[test]
    fn lists_are_split_at_commas() {
        let config = parse(&[
            "--nameservers=10.96.0.10,10.96.0.11",
            "--exclude-namespaces=kube-system,infra",
        ]);
        assert_eq!(config.nameservers.len(), 2);
        assert_eq!(config.exclude_namespaces, ["kube-system", "infra"]);
        assert_eq!(
            config.node.state_file(),
            PathBuf::from("/var/run/ambit/state.json")
        );
    }

    #[test]
    fn a_source_directory_means_no_installation_unless_asked() {
        let files = |flags: &[&str]| parse(flags).installation().map(|(files, _)| files);
        let (files_by_default, settings) = parse(&[]).installation().unwrap();
        assert_eq!(files_by_default.bin_dir, PathBuf::from("/host/opt/cni/bin"));
        assert_eq!(
            settings.object()["ownPods"][0],
            "istio-system/ambit-cni-node-*"
        );
        assert!(files(&["--source-dir=d", "--proxy-cgroup=p"]).is_none());
        let asked = files(&["--source-dir=d", "--proxy-cgroup=p", "--cni-bin-dir=/b"]).unwrap();
        assert_eq!(asked.bin_dir, PathBuf::from("/b"));
    }

    #[test]
    fn uninstalling_needs_no_node_name() {
        let arguments = ["ambit-agent", "uninstall-cni", "--cni-bin-dir=/b"];
        let invocation = Invocation::parse_from(arguments.map(OsString::from));
        let Invocation::Uninstall(uninstall) = invocation else {
            panic!("{invocation:?}");
        };
        assert_eq!(uninstall.node.files().bin_dir, PathBuf::from("/b"));
    }
}
