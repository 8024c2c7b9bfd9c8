//! How the mesh's programs are started: arguments and environment. Pure.
//! In: names and paths of the lab. Out: a [`Spec`] per program, the CNI configuration.
//! Spec: ARCHITECTURE.md; upstream's environment names for the proxies.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ambit_api::ports;
use serde_json::json;

use crate::families::Families;
use crate::kubelet::cni::Chain;
use crate::launch::Place;
use crate::names::{CLUSTER_DOMAIN, LabName, NodeNumber, SYSTEM_NAMESPACE};
use crate::process::Spec;
use crate::tokens::Subject;

/// Service account of the node proxies.
pub(crate) const ZTUNNEL_ACCOUNT: &str = "ztunnel";
/// Image the controller puts into generated waypoint pods.
pub(crate) const WAYPOINT_IMAGE: &str = "ambit/waypoint";
/// Worker threads of each proxy.
const WORKERS: &str = "2";

/// Paths that several programs share.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The lab
    pub(crate) lab: LabName,
    pub(crate) families: Families,
    /// The directory of YAML
    pub(crate) directory: PathBuf,
    /// Where built programs are
    pub(crate) programs: PathBuf,
    /// The lab's subtree of the cgroup2 mount
    pub(crate) cgroup: PathBuf,
    /// `tracing` filter of every program
    pub(crate) log_filter: String,
    /// Further environment of the controller
    pub(crate) controller_settings: Vec<(String, String)>,
}

impl Layout {
    /// Logs of everything.
    pub(crate) fn logs(&self) -> PathBuf {
        self.lab.run_dir().join("log")
    }

    /// Files of a node.
    pub(crate) fn node_dir(&self, node: NodeNumber) -> PathBuf {
        self.lab.run_dir().join(node.short())
    }

    /// cgroup of a node.
    pub(crate) fn node_cgroup(&self, node: NodeNumber) -> PathBuf {
        self.cgroup.join(node.short())
    }

    /// bpffs of a node.
    pub(crate) fn bpffs(&self, node: NodeNumber) -> PathBuf {
        self.node_dir(node).join("bpffs")
    }

    /// The controller's CA.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        self.lab.run_dir().join("ca")
    }

    /// The roots that proxies trust.
    pub(crate) fn root_cert(&self) -> PathBuf {
        self.ca_dir().join("published/root-cert.pem")
    }

    /// Keys that verify service account tokens.
    pub(crate) fn jwks(&self) -> PathBuf {
        self.lab.run_dir().join("jwks.json")
    }

    /// The node proxy's token.
    pub(crate) fn ztunnel_token(&self, node: NodeNumber) -> PathBuf {
        self.node_dir(node).join("ztunnel.token")
    }

    /// Resolver file of the node's own programs.
    pub(crate) fn node_resolver(&self, node: NodeNumber) -> PathBuf {
        self.node_dir(node).join("resolv.conf")
    }

    fn system(&self, node: NodeNumber, program: &str) -> Place {
        Place {
            netns: Some(self.lab.netns(&node.short()).path()),
            cgroup: Some(self.node_cgroup(node).join("system").join(program)),
            resolv: None,
            parent: None,
        }
    }

    /// Place of the kubelet's own processes: probes and CNI calls.
    pub(crate) fn kubelet_place(&self, node: NodeNumber) -> Place {
        self.system(node, "kubelet")
    }
}

/// Every system cgroup of a node.
pub(crate) const SYSTEM_CGROUPS: [&str; 3] = ["agent", "ztunnel", "kubelet"];

/// `ambit-controller`.
pub(crate) fn controller(layout: &Layout) -> Spec {
    let args = [
        "--source-dir".to_owned(),
        text(&layout.directory),
        "--jwks".to_owned(),
        text(&layout.jwks()),
        "--ca-dir".to_owned(),
        text(&layout.ca_dir()),
        "--xds-addr".to_owned(),
        layout.families.xds_address().to_string(),
        "--http-addr".to_owned(),
        layout.families.controller_http().to_string(),
        "--cluster-domain".to_owned(),
        CLUSTER_DOMAIN.to_owned(),
        "--trusted-node-account".to_owned(),
        format!("{SYSTEM_NAMESPACE}/{ZTUNNEL_ACCOUNT}"),
        "--waypoint-image".to_owned(),
        WAYPOINT_IMAGE.to_owned(),
    ];
    let place = Place {
        netns: Some(layout.lab.core().path()),
        cgroup: Some(layout.cgroup.join("core")),
        resolv: None,
        parent: None,
    };
    Spec::new(layout.programs.join("ambit-controller"), args)
        .env([("RUST_LOG", layout.log_filter.as_str())])
        .env(layout.controller_settings.clone())
        .at(place)
        .log(layout.logs().join("controller.log"))
}

/// `ambit-agent` of a node.
pub(crate) fn agent(layout: &Layout, node: NodeNumber) -> Spec {
    let dir = layout.node_dir(node);
    let cgroup = layout.node_cgroup(node);
    let pairs: [(&str, String); 13] = [
        ("--node-name", node.name()),
        ("--source-dir", text(&layout.directory)),
        ("--cgroup-root", text(&cgroup)),
        ("--pin-root", text(&layout.bpffs(node).join("ambit"))),
        ("--proxy-cgroup", text(&cgroup.join("system/ztunnel"))),
        ("--kubepods-cgroup", text(&cgroup.join("kubepods"))),
        (
            "--node-netns",
            text(&layout.lab.netns(&node.short()).path()),
        ),
        ("--run-dir", text(&agent_run_dir(layout, node))),
        ("--zds-socket", text(&dir.join("zds.sock"))),
        ("--cni-socket", text(&dir.join("cni.sock"))),
        (
            "--metrics-addr",
            format!("0.0.0.0:{}", ports::CONTROL_METRICS),
        ),
        (
            "--ready-addr",
            format!("0.0.0.0:{}", ports::AGENT_READINESS),
        ),
        ("--exclude-namespaces", "kube-system".to_owned()),
    ];
    // Only IPv4 nameservers are captured; queries to others pass.
    let nameserver = Some(layout.families.nameserver()).filter(IpAddr::is_ipv4);
    let args = pairs
        .into_iter()
        .chain(nameserver.map(|ip| ("--nameservers", ip.to_string())))
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    Spec::new(layout.programs.join("ambit-agent"), args)
        .env([("RUST_LOG", layout.log_filter.as_str())])
        .at(layout.system(node, "agent"))
        .log(layout.logs().join(format!("agent-{}.log", node.short())))
}

fn agent_run_dir(layout: &Layout, node: NodeNumber) -> PathBuf {
    layout.node_dir(node).join("agent")
}

/// `ztunnel` of a node.
pub(crate) fn ztunnel(layout: &Layout, node: NodeNumber) -> Spec {
    let instance = layout.families.node(node).into_iter().next();
    let own = [
        ("AUTH_TOKEN", text(&layout.ztunnel_token(node))),
        ("NODE_NAME", node.name()),
        ("INPOD_UDS", text(&layout.node_dir(node).join("zds.sock"))),
        ("POD_NAME", format!("ztunnel-{}", node.short())),
        ("POD_NAMESPACE", SYSTEM_NAMESPACE.to_owned()),
        ("SERVICE_ACCOUNT", ZTUNNEL_ACCOUNT.to_owned()),
        (
            "INSTANCE_IP",
            instance.map_or_else(String::new, |ip| ip.to_string()),
        ),
        ("RUST_LOG", layout.log_filter.clone()),
    ];
    let mut place = layout.system(node, "ztunnel");
    place.resolv = Some(layout.node_resolver(node));
    Spec::new(layout.programs.join("ztunnel"), [""; 0])
        .env(proxy_environment(layout))
        .env(own)
        .at(place)
        .log(layout.logs().join(format!("ztunnel-{}.log", node.short())))
}

/// Free pages go back to the kernel after a second instead of ten, so that what a proxy really holds
/// can be seen soon (jemalloc's `opt.*_decay_ms`).
const PAGES_RETURN: &str = "dirty_decay_ms:1000,muzzy_decay_ms:0";

/// What every proxy of the mesh is told.
pub(crate) fn proxy_environment(layout: &Layout) -> Vec<(String, String)> {
    let address = format!("https://{}", layout.families.xds_address());
    let root = text(&layout.root_cert());
    let revoked = layout.root_cert().with_file_name("ca-crl.pem");
    let server = format!("istiod.{SYSTEM_NAMESPACE}.svc");
    [
        ("XDS_ADDRESS", address.clone()),
        ("CA_ADDRESS", address),
        ("ALT_XDS_HOSTNAME", server.clone()),
        ("ALT_CA_HOSTNAME", server),
        ("XDS_ROOT_CA", root.clone()),
        ("CA_ROOT_CA", root),
        ("CRL_PATH", text(&revoked)),
        ("CLUSTER_ID", "Kubernetes".to_owned()),
        ("CLUSTER_DOMAIN", CLUSTER_DOMAIN.to_owned()),
        ("TRUST_DOMAIN", CLUSTER_DOMAIN.to_owned()),
        ("ZTUNNEL_WORKER_THREADS", WORKERS.to_owned()),
        ("LOG_FORMAT", "plain".to_owned()),
        ("RUST_LOG", layout.log_filter.clone()),
        ("_RJEM_MALLOC_CONF", PAGES_RETURN.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Whose token a node's proxy has.
pub(crate) fn ztunnel_subject(node: NodeNumber) -> Subject {
    Subject {
        namespace: SYSTEM_NAMESPACE.to_owned(),
        service_account: ZTUNNEL_ACCOUNT.to_owned(),
        pod: format!("ztunnel-{}", node.short()),
        pod_uid: format!(
            "00000000-0000-4000-8000-0000000000{:02x}",
            node.pod_range().octets()[2]
        ),
        node: node.name(),
    }
}

/// The chained plugin of a node.
pub(crate) fn chain(layout: &Layout, node: NodeNumber) -> Chain {
    let dir = layout.node_dir(node);
    Chain {
        plugin: layout.programs.join("ambit-cni"),
        config: json!({
            "cniVersion": "1.0.0",
            "name": "lab",
            "type": "ambit-cni",
            "agentSocket": dir.join("cni.sock"),
            "stateFile": agent_run_dir(layout, node).join("state.json"),
            "excludeNamespaces": ["kube-system"],
            "logFile": layout.logs().join(format!("cni-{}.log", node.short())),
        }),
        place: layout.kubelet_place(node),
    }
}

/// The Node object of a node.
pub(crate) fn node_object(node: NodeNumber, families: Families) -> serde_json::Value {
    let ranges = families.pod_ranges(node);
    let addresses = families
        .node(node)
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect::<serde_json::Value>();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name(),
            "labels": {
                "kubernetes.io/hostname": node.name(),
                "topology.kubernetes.io/region": "lab",
                "topology.kubernetes.io/zone": format!("lab-{}", node.short()),
            },
        },
        "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
        "status": {"addresses": addresses},
    })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
