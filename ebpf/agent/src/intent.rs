//! Which pods belong to the mesh.
//! In: what the source says of a pod and its namespace. Out: [`Intent`], with the reason.
//! Owns nothing; pure. Must not happen here: a look at what is enrolled now.
//! Spec: Istio labels `istio.io/dataplane-mode`, annotations `ambient.istio.io/*`,
//! `sidecar.istio.io/status`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ambit_api::labels;
use ambit_ebpf_loader::PodOptions;

/// What the source says of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.uid`; empty if the source gives none.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.serviceAccountName`, `default` if absent.
    pub service_account: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// `status.phase` is `Succeeded` or `Failed`.
    pub finished: bool,
}

impl PodFacts {
    /// The uid that kubelet, the container runtime and the CNI plugin know the pod by. Static pods have
    /// a hash of their configuration for it; `metadata.uid` is that of their mirror.
    pub fn node_uid(&self) -> &str {
        match self.annotations.get(CONFIG_HASH) {
            Some(hash) if self.annotations.contains_key(CONFIG_MIRROR) => hash,
            _ => &self.uid,
        }
    }

    /// Whether it is a proxy of the mesh whose own namespace this is.
    pub fn is_proxy(&self, namespace: &str) -> bool {
        let app = self.labels.get("app").map(String::as_str);
        self.namespace == namespace && app == Some(PROXY_APP) && !self.finished
    }
}

/// Value of the label `app` on proxy pods.
const PROXY_APP: &str = "ztunnel";

/// What a pod should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// In the mesh, with these options.
    Enroll(PodOptions),
    /// Outside, for this reason.
    StayOut(Reason),
}

/// Why a pod stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It shares the node's network.
    HostNetwork,
    /// Its containers have ended.
    Finished,
    /// Its namespace is excluded on this node.
    ExcludedNamespace,
    /// It has a sidecar.
    Sidecar,
    /// It is a waypoint or gateway and terminates HBONE itself.
    Gateway,
    /// It says `none`.
    OptedOut,
    /// Neither it nor its namespace says `ambient`.
    NotSelected,
    /// Its node is to have no proxy.
    NoProxy,
}

impl Reason {
    /// For logs and the debug page.
    pub fn text(self) -> &'static str {
        match self {
            Self::HostNetwork => "hostNetwork",
            Self::Finished => "finished",
            Self::ExcludedNamespace => "namespace excluded",
            Self::Sidecar => "has a sidecar",
            Self::Gateway => "gateway or waypoint",
            Self::OptedOut => "opted out",
            Self::NotSelected => "not selected",
            Self::NoProxy => "no proxy is wanted on this node",
        }
    }
}

/// Decides about one pod. `namespace_labels` is `None` if the namespace is unknown.
pub fn intent(
    pod: &PodFacts,
    namespace_labels: Option<&BTreeMap<String, String>>,
    excluded: &[String],
) -> Intent {
    let stay = Intent::StayOut;
    if pod.host_network {
        return stay(Reason::HostNetwork);
    }
    if pod.finished {
        return stay(Reason::Finished);
    }
    if excluded.contains(&pod.namespace) {
        return stay(Reason::ExcludedNamespace);
    }
    if pod.annotations.contains_key(SIDECAR_STATUS) {
        return stay(Reason::Sidecar);
    }
    // A gateway's own pod. One that somebody else runs is an application like any other.
    let is_gateway = [labels::GATEWAY_NAME, labels::MANAGED];
    if is_gateway
        .iter()
        .all(|label| pod.labels.contains_key(*label))
    {
        return stay(Reason::Gateway);
    }
    match pod.labels.get(labels::DATAPLANE_MODE).map(String::as_str) {
        Some(AMBIENT) => Intent::Enroll(options(pod)),
        Some(NONE) => stay(Reason::OptedOut),
        _ if namespace_labels.is_some_and(selects) => Intent::Enroll(options(pod)),
        _ => stay(Reason::NotSelected),
    }
}

/// Whether a namespace's labels enroll its pods.
pub fn selects(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(labels::DATAPLANE_MODE)
        .is_some_and(|mode| mode == AMBIENT)
}

fn options(pod: &PodFacts) -> PodOptions {
    let says = |annotation: &str, value: &str| {
        pod.annotations
            .get(annotation)
            .is_some_and(|found| found == value)
    };
    PodOptions {
        plain_dns: says(labels::DNS_CAPTURE, "false"),
        plain_inbound: says(labels::BYPASS_INBOUND_CAPTURE, "true"),
        reroute: !virtual_interfaces(pod).is_empty(),
    }
}

/// Interfaces inside the pod that bring traffic of virtual machines or containers in it.
pub fn virtual_interfaces(pod: &PodFacts) -> BTreeSet<String> {
    let named = pod.annotations.get(labels::REROUTE_VIRTUAL_INTERFACES);
    let names = named.into_iter().flat_map(|names| names.split(','));
    names
        .map(str::trim)
        .filter(|name| is_interface(name))
        .map(str::to_owned)
        .collect()
}

/// Whether the kernel would take it for the name of an interface that is not `lo`
/// (`dev_valid_name` in `net/core/dev.c`).
fn is_interface(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() < LONGEST_NAME;
    let reserved = ["lo", ".", ".."].contains(&name);
    fits && !reserved && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

/// `IFNAMSIZ`, with the byte that ends it.
const LONGEST_NAME: usize = 16;

const AMBIENT: &str = "ambient";
const NONE: &str = "none";
/// Set by kubelet on the mirrors of static pods.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Set by the sidecar injector.
const SIDECAR_STATUS: &str = "sidecar.istio.io/status";

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    #[test]
    fn virtual_interfaces_are_a_list_of_names_the_kernel_would_take() {
        let named = |value: &str| {
            let pod = PodFacts {
                annotations: map(&[(labels::REROUTE_VIRTUAL_INTERFACES, value)]),
                ..pod(&[])
            };
            assert_eq!(options(&pod).reroute, !virtual_interfaces(&pod).is_empty());
            virtual_interfaces(&pod).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(named("docker0, k6t-eth0"), ["docker0", "k6t-eth0"]);
        assert_eq!(named("abcdefghijklmno"), ["abcdefghijklmno"]);
        for nothing in ["", " , ", "lo", "..", "a/b", "a b", "abcdefghijklmnop"] {
            assert!(named(nothing).is_empty(), "{nothing}");
        }
    }

    fn pod(labels: &[(&str, &str)]) -> PodFacts {
        PodFacts {
            namespace: "shop".into(),
            name: "web".into(),
            labels: map(labels),
            ..PodFacts::default()
        }
    }

    const MODE: &str = "istio.io/dataplane-mode";

    #[test]
    fn the_pod_s_label_beats_the_namespace_s() {
        let everything = Intent::Enroll(PodOptions::default());
        let out = Intent::StayOut;
        let cases: [(&[_], Option<&[_]>, Intent); 9] = [
            (&[], None, out(Reason::NotSelected)),
            (&[], Some(&[]), out(Reason::NotSelected)),
            (&[], Some(&[(MODE, "ambient")]), everything),
            (&[], Some(&[(MODE, "none")]), out(Reason::NotSelected)),
            (&[], Some(&[(MODE, "sidecar")]), out(Reason::NotSelected)),
            (&[(MODE, "ambient")], Some(&[(MODE, "none")]), everything),
            (&[(MODE, "ambient")], None, everything),
            (
                &[(MODE, "none")],
                Some(&[(MODE, "ambient")]),
                out(Reason::OptedOut),
            ),
            (&[(MODE, "other")], Some(&[(MODE, "ambient")]), everything),
        ];
        for (labels, namespace, expected) in cases {
            let namespace = namespace.map(map);
            assert_eq!(
                intent(&pod(labels), namespace.as_ref(), &[]),
                expected,
                "{labels:?} {namespace:?}"
            );
        }
    }

    #[test]
    fn exclusions_beat_every_label() {
        let ambient = [(MODE, "ambient")];
        let mut host = pod(&ambient);
        host.host_network = true;
        let mut finished = pod(&ambient);
        finished.finished = true;
        let mut sidecar = pod(&ambient);
        sidecar.annotations = map(&[("sidecar.istio.io/status", "{}")]);
        let gateway = pod(&[
            ambient[0],
            ("gateway.networking.k8s.io/gateway-name", "waypoint"),
            ("gateway.istio.io/managed", "istio.io-mesh-controller"),
        ]);
        let foreign = [
            ambient[0],
            ("gateway.networking.k8s.io/gateway-name", "edge"),
        ];
        let captured = intent(&pod(&foreign), None, &[]);
        assert!(matches!(captured, Intent::Enroll(_)), "{captured:?}");
        for (pod, excluded, reason) in [
            (host, vec![], Reason::HostNetwork),
            (finished, vec![], Reason::Finished),
            (sidecar, vec![], Reason::Sidecar),
            (gateway, vec![], Reason::Gateway),
            (
                pod(&ambient),
                vec!["shop".to_owned()],
                Reason::ExcludedNamespace,
            ),
        ] {
            assert_eq!(intent(&pod, None, &excluded), Intent::StayOut(reason));
        }
    }

    #[test]
    fn annotations_switch_parts_off() {
        let mut pod = pod(&[(MODE, "ambient")]);
        pod.annotations = map(&[
            ("ambient.istio.io/dns-capture", "false"),
            ("ambient.istio.io/bypass-inbound-capture", "true"),
        ]);
        let Intent::Enroll(options) = intent(&pod, None, &[]) else {
            panic!("enrolled")
        };
        assert!(options.plain_dns && options.plain_inbound);
    }
}
