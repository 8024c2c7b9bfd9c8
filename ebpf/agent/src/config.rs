//! Settings: flags, each with an environment variable.
//! In: the command line. Out: [`Config`]. Must not happen here: a look at the machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

use crate::source::Source;

/// Node agent: enrolls pods, serves the CNI plugin and ZDS, heals capture.
#[derive(Debug, Clone, Parser)]
#[command(name = "ambit-agent", version)]
pub struct Config {
    /// This node, as `spec.nodeName` of pods has it.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// Directory of YAML files: the source of pods and namespaces, and where statuses go.
    #[arg(long, env = "AMBIT_SOURCE_DIR")]
    pub source_dir: PathBuf,
    /// Cgroup2 directory below which connections are captured.
    #[arg(long, env = "AMBIT_CGROUP_ROOT", default_value = "/sys/fs/cgroup")]
    pub cgroup_root: PathBuf,
    /// Directory on a bpffs for programs, maps and links.
    #[arg(long, env = "AMBIT_PIN_ROOT", default_value = "/sys/fs/bpf/ambit")]
    pub pin_root: PathBuf,
    /// Cgroup of the node proxy, whose connections are never captured.
    #[arg(long, env = "AMBIT_PROXY_CGROUP")]
    pub proxy_cgroup: PathBuf,
    /// Cgroup of all pods; connections of the node from outside of it are probes.
    #[arg(long, env = "AMBIT_KUBEPODS_CGROUP")]
    pub kubepods_cgroup: Option<PathBuf>,
    /// The node's own network namespace, never enrolled.
    #[arg(long, env = "AMBIT_NODE_NETNS", default_value = "/proc/1/ns/net")]
    pub node_netns: PathBuf,
    /// A procfs whose `sys` is writable; in a container that of the host, `/proc/1/root/proc`.
    #[arg(long, env = "AMBIT_PROC", default_value = "/proc")]
    pub proc: PathBuf,
    /// Journal and the CNI plugin's state file (`state.json`).
    #[arg(long, env = "AMBIT_RUN_DIR", default_value = "/var/run/ambit")]
    pub run_dir: PathBuf,
    /// Where node proxies connect.
    #[arg(
        long,
        env = "AMBIT_ZDS_SOCKET",
        default_value = "/var/run/ztunnel/ztunnel.sock"
    )]
    pub zds_socket: PathBuf,
    /// Where the CNI plugin connects.
    #[arg(
        long,
        env = "AMBIT_CNI_SOCKET",
        default_value = "/var/run/ambit/cni.sock"
    )]
    pub cni_socket: PathBuf,
    /// Metrics and the debug page.
    #[arg(long, env = "AMBIT_METRICS_ADDR", default_value = "[::]:15014")]
    pub metrics_addr: SocketAddr,
    /// Readiness.
    #[arg(long, env = "AMBIT_READY_ADDR", default_value = "[::]:8000")]
    pub ready_addr: SocketAddr,
    /// Nameservers of pods, whose UDP queries the proxy answers.
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

impl Config {
    /// Where pods and namespaces come from.
    pub fn source(&self) -> Source {
        Source::Directory(self.source_dir.clone())
    }

    /// State file of the CNI plugin.
    pub fn state_file(&self) -> PathBuf {
        self.run_dir.join("state.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_fit_each_other() {
        Config::command().debug_assert();
    }

    #[test]
    fn lists_are_split_at_commas() {
        let config = Config::try_parse_from([
            "ambit-agent",
            "--node-name=n",
            "--source-dir=d",
            "--proxy-cgroup=p",
            "--nameservers=10.96.0.10,10.96.0.11",
            "--exclude-namespaces=kube-system,infra",
        ])
        .unwrap();
        assert_eq!(config.nameservers.len(), 2);
        assert_eq!(config.exclude_namespaces, ["kube-system", "infra"]);
        assert_eq!(
            config.state_file(),
            PathBuf::from("/var/run/ambit/state.json")
        );
    }
}
