//! Configuration of the programs of a cluster.
//! In: addresses, paths. Out: texts and arguments. Pure: nothing is read or written here.
//! Programs may not lower their OOM score or touch sysctls of the machine, because the cluster is a
//! guest on it and may lack the capability.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use crate::base::PAUSE;
use crate::names::{
    API_SERVICE, CONTROL_PLANE, DNS_SERVICE, NodeNumber, PODS, PODS_V6, SERVICES, SERVICES_V6,
};
use crate::state::Shape;

/// A store that forgets nothing but does not wait for the disk either.
pub(crate) fn etcd(data: &Path) -> Value {
    let (client, peer) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    json!({
        "name": "cp",
        "data-dir": data,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": format!("cp={peer}"),
        "unsafe-no-fsync": true,
        "log-level": "warn",
    })
}

/// Arguments of the API server. Webhooks are dialled at pod addresses (`aggregator-routing`), because no
/// kube-proxy runs in its namespace.
/// Options that say nothing are left out.
pub(crate) fn api_server(pki: &Path, shape: &Shape) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    let settings = [
        ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
        ("bind-address", Ipv4Addr::UNSPECIFIED.to_string()),
        ("secure-port", "6443".to_owned()),
        ("advertise-address", CONTROL_PLANE.to_string()),
        (
            "service-cluster-ip-range",
            both(SERVICES, SERVICES_V6, shape.dual_stack),
        ),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("client-ca-file", file("ca.crt")),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("kubelet-client-certificate", file("apiserver-kubelet.crt")),
        ("kubelet-client-key", file("apiserver-kubelet.key")),
        ("kubelet-certificate-authority", file("ca.crt")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local".to_owned(),
        ),
        ("service-account-key-file", file("sa.pub")),
        ("service-account-signing-key-file", file("sa.key")),
        ("requestheader-client-ca-file", file("front.crt")),
        (
            "requestheader-allowed-names",
            "front-proxy-client".to_owned(),
        ),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        (
            "requestheader-extra-headers-prefix",
            "X-Remote-Extra-".to_owned(),
        ),
        ("proxy-client-cert-file", file("front-client.crt")),
        ("proxy-client-key-file", file("front-client.key")),
        ("enable-aggregator-routing", "true".to_owned()),
        ("profiling", "false".to_owned()),
    ];
    let more = [
        ("feature-gates", shape.api.feature_gates.clone()),
        ("runtime-config", shape.api.runtime_config.clone()),
    ];
    let said = more.into_iter().filter(|(_, value)| !value.is_empty());
    arguments(&settings.into_iter().chain(said).collect::<Vec<_>>())
}

/// Arguments of the controllers. Their default rate of calls makes a start five seconds longer.
pub(crate) fn controllers(pki: &Path) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    let config = file("controllers.conf");
    let settings = [
        ("kubeconfig", config.clone()),
        ("authentication-kubeconfig", config.clone()),
        ("authorization-kubeconfig", config),
        ("root-ca-file", file("ca.crt")),
        ("service-account-private-key-file", file("sa.key")),
        ("use-service-account-credentials", "true".to_owned()),
        ("cluster-signing-cert-file", file("ca.crt")),
        ("cluster-signing-key-file", file("ca.key")),
        ("leader-elect", "false".to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("kube-api-qps", "300".to_owned()),
        ("kube-api-burst", "600".to_owned()),
    ];
    arguments(&settings)
}

/// Arguments of the scheduler.
pub(crate) fn scheduler(pki: &Path) -> Vec<String> {
    let config = pki.join("scheduler.conf").display().to_string();
    let settings = [
        ("kubeconfig", config.clone()),
        ("authentication-kubeconfig", config.clone()),
        ("authorization-kubeconfig", config),
        ("leader-elect", "false".to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
    ];
    arguments(&settings)
}

/// One family, or both with a comma between them.
fn both(v4: &str, v6: &str, dual_stack: bool) -> String {
    if dual_stack {
        format!("{v4},{v6}")
    } else {
        v4.to_owned()
    }
}

fn arguments(settings: &[(&str, String)]) -> Vec<String> {
    settings
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

/// containerd 1.6 and 1.7 (configuration version 2).
pub(crate) fn containerd() -> String {
    format!(
        r#"version = 2
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

/// The primary network: point-to-point links, so that every packet passes the node's routing and filters.
pub(crate) fn cni(node: NodeNumber, dual_stack: bool) -> Value {
    let mut ranges = vec![json!([{"subnet": node.pods()}])];
    let mut routes = vec![json!({"dst": "0.0.0.0/0"})];
    if dual_stack {
        ranges.push(json!([{"subnet": node.pods_v6()}]));
        routes.push(json!({"dst": "::/0"}));
    }
    json!({
        "cniVersion": "0.4.0",
        "name": "pod",
        "plugins": [
            {"type": "ptp", "mtu": 1500, "ipMasq": false, "ipam": {
                "type": "host-local", "ranges": ranges, "routes": routes,
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// kubelet. `hybrid`: control groups of version 1 hold the controllers.
pub(crate) fn kubelet(pki: &Path, node: NodeNumber, hybrid: bool) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.join(format!("kubelet-{node}.crt")),
        "tlsPrivateKeyFile": pki.join(format!("kubelet-{node}.key")),
        "rotateCertificates": false,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": false,
        "failCgroupV1": !hybrid,
        // It checks sysctls instead of setting them; the node shows it the values it wants.
        "protectKernelDefaults": true,
        "oomScoreAdj": 0,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/kubernetes/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%",
            "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
        // Images come from files: one that was collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s",
        "maxPods": 60,
        "serializeImagePulls": false,
    })
}

/// Arguments of kubelet; without a way out it cannot find its address itself.
pub(crate) fn kubelet_arguments(pki: &Path, node: NodeNumber, dual_stack: bool) -> Vec<String> {
    let (v4, v6) = (node.address().to_string(), node.address_v6().to_string());
    arguments(&[
        ("config", "/etc/kubernetes/kubelet.json".to_owned()),
        (
            "kubeconfig",
            pki.join(format!("kubelet-{node}.conf"))
                .display()
                .to_string(),
        ),
        ("hostname-override", node.to_string()),
        ("node-ip", both(&v4, &v6, dual_stack)),
        ("v", "2".to_owned()),
    ])
}

/// kube-proxy. It leaves conntrack's sysctls, which only the initial network namespace can set.
pub(crate) fn kube_proxy(pki: &Path, node: NodeNumber, dual_stack: bool) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.to_string(),
        "clientConnection": {"kubeconfig": pki.join("kube-proxy.conf")},
        "clusterCIDR": both(PODS, PODS_V6, dual_stack),
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "oomScoreAdj": 0,
    })
}

/// Sysctls as kubelet wants to see them, below `/proc/sys`.
pub(crate) const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// One line about where things are.
pub(crate) fn describe() -> String {
    format!(
        "API https://{CONTROL_PLANE}:6443 (in the cluster {API_SERVICE}), DNS {DNS_SERVICE}, services {SERVICES}, pods {PODS}"
    )
}

#[cfg(test)]
mod tests {
    use super::{api_server, cni, containerd, kubelet};
    use crate::names::NodeNumber;
    use crate::state::{ApiOptions, Shape};
    use std::path::Path;

    #[test]
    fn a_node_gives_addresses_of_its_own_range() {
        let node = NodeNumber::first(2).unwrap()[1];
        let text = cni(node, false).to_string();
        assert!(text.contains(r#"{"subnet":"10.244.2.0/24"}"#), "{text}");
        assert!(!text.contains("fd44"), "{text}");
        let text = cni(node, true).to_string();
        assert!(text.contains(r#"{"subnet":"fd44:0:0:2::/64"}"#), "{text}");
    }

    #[test]
    fn the_api_server_is_told_more_only_when_there_is_more() {
        let mut shape = Shape {
            nodes: NodeNumber::first(1).unwrap(),
            dual_stack: false,
            api: ApiOptions::default(),
        };
        let pki = Path::new("/pki");
        let plain = api_server(pki, &shape);
        shape.api.feature_gates = "ClusterTrustBundle=true".to_owned();
        let more = api_server(pki, &shape);
        assert_eq!(more[..plain.len()], plain);
        assert_eq!(
            more[plain.len()..],
            ["--feature-gates=ClusterTrustBundle=true"]
        );
    }

    #[test]
    fn version_one_groups_are_allowed_only_where_they_are() {
        let node = NodeNumber::first(1).unwrap()[0];
        assert_eq!(
            kubelet(Path::new("/pki"), node, true)["failCgroupV1"],
            false
        );
        assert_eq!(
            kubelet(Path::new("/pki"), node, false)["failCgroupV1"],
            true
        );
    }

    #[test]
    fn the_sandbox_image_is_the_one_that_is_loaded() {
        assert!(containerd().contains(&format!("sandbox_image = \"{}\"", crate::base::PAUSE)));
    }
}
