//! Reading a Pod.
//! In: a `core/v1` Pod. Out: the few fields the lab acts on, with Kubernetes' defaults.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};

use crate::families::Families;

/// Annotation of a Pod: `ipv4` or `ipv6` where its node has both.
pub const FAMILIES: &str = "lab.ambit.io/ip-families";

/// A Pod with accessors.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a>(pub &'a Pod);

impl<'a> PodView<'a> {
    /// `metadata.namespace`, `default` if absent.
    pub fn namespace(self) -> &'a str {
        self.0.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// `metadata.name`.
    pub fn name(self) -> &'a str {
        self.0.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`, or one made from namespace and name, in UUID form.
    pub fn uid(self) -> String {
        if let Some(uid) = &self.0.metadata.uid {
            return uid.clone();
        }
        let hash = Sha256::digest(format!("{}/{}", self.namespace(), self.name()));
        let hex: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// `spec`.
    pub fn spec(self) -> Option<&'a PodSpec> {
        self.0.spec.as_ref()
    }

    /// `spec.nodeName`.
    pub fn node(self) -> Option<&'a str> {
        self.spec()?.node_name.as_deref()
    }

    /// `spec.serviceAccountName`, `default` if absent.
    pub fn service_account(self) -> &'a str {
        self.spec()
            .and_then(|s| s.service_account_name.as_deref())
            .unwrap_or("default")
    }

    /// `spec.hostNetwork`.
    pub fn host_network(self) -> bool {
        self.spec().and_then(|s| s.host_network).unwrap_or(false)
    }

    /// A label's value.
    pub fn label(self, key: &str) -> Option<&'a String> {
        self.0.metadata.labels.as_ref()?.get(key)
    }

    /// An annotation's value.
    pub fn annotation(self, key: &str) -> Option<&'a String> {
        self.0.metadata.annotations.as_ref()?.get(key)
    }

    /// `status.podIPs`, or `status.podIP` if that is all there is.
    pub fn ips(self) -> Vec<IpAddr> {
        let Some(status) = &self.0.status else {
            return Vec::new();
        };
        let many = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
        let ips: Vec<IpAddr> = many.filter_map(|ip| ip.parse().ok()).collect();
        if ips.is_empty() {
            let one = status.pod_ip.as_ref();
            return one.and_then(|ip| ip.parse().ok()).into_iter().collect();
        }
        ips
    }

    /// The families its annotation [`FAMILIES`] leaves of those of its node. In a cluster this is the network
    /// plugin's own affair; without the annotation, or with one that says nothing known, it has all.
    pub fn families(self, of_node: Families) -> Families {
        let asked = self.annotation(FAMILIES).and_then(|text| text.parse().ok());
        asked.map_or(of_node, |asked| of_node.narrowed(asked))
    }

    /// The `Ready` condition.
    pub fn ready(self) -> bool {
        let conditions = self.0.status.as_ref().and_then(|s| s.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    }

    /// `status.message`.
    pub fn message(self) -> Option<&'a str> {
        self.0.status.as_ref()?.message.as_deref()
    }

    /// The container port a service port leads to.
    pub fn target_port(self, port: &ServicePort) -> Option<u16> {
        match &port.target_port {
            None => u16::try_from(port.port).ok(),
            Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
            Some(IntOrString::String(name)) => self.named_port(name),
        }
    }

    /// A container port by name.
    pub fn named_port(self, name: &str) -> Option<u16> {
        let containers = &self.spec()?.containers;
        let ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
        ports
            .filter(|port| port.name.as_deref() == Some(name))
            .find_map(|port| u16::try_from(port.container_port).ok())
    }
}
