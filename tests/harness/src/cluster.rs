//! The objects of the directory, as a node sees them.
//! In: batches of changes from `ambit_source`. Out: an immutable [`Cluster`] on a watch channel.
//! Owns: the one task that applies changes. Readers hold an `Arc`.
//! Never here: deciding what to run.

pub mod pod;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};

pub use pod::PodView;

/// Namespace and name.
pub type Key = (String, String);

/// What nodes need to know. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Pods by namespace and name, statuses merged in
    pub pods: BTreeMap<Key, Arc<Pod>>,
    /// Services by namespace and name
    pub services: BTreeMap<Key, Arc<Service>>,
}

/// One port of a service and where it leads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// The service
    pub service: Key,
    /// Its virtual address
    pub vip: IpAddr,
    /// `tcp` or `udp`
    pub protocol: &'static str,
    /// Its port
    pub port: u16,
    /// Ready endpoints: address of the same family and target port
    pub endpoints: Vec<(IpAddr, u16)>,
}

impl Cluster {
    /// Pods a service selects, ready or not.
    pub fn selected<'a>(
        &'a self,
        key: &'a Key,
        service: &'a Service,
    ) -> impl Iterator<Item = PodView<'a>> {
        let selector = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref());
        self.pods
            .iter()
            .filter(move |((namespace, _), _)| *namespace == key.0)
            .filter_map(move |(_, pod)| {
                let pod = PodView(pod);
                let selector = selector.filter(|s| !s.is_empty())?;
                selector
                    .iter()
                    .all(|(k, v)| pod.label(k) == Some(v))
                    .then_some(pod)
            })
    }

    /// Every port of every virtual address of every service.
    pub fn backends(&self) -> Vec<Backends> {
        let mut all = Vec::new();
        for (key, service) in &self.services {
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
            for vip in virtual_addresses(service) {
                let of = |port| self.backends_of(key, service, (vip, port));
                all.extend(ports.into_iter().flatten().filter_map(of));
            }
        }
        all
    }

    fn backends_of(
        &self,
        key: &Key,
        service: &Service,
        (vip, port): (IpAddr, &ServicePort),
    ) -> Option<Backends> {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => "tcp",
            Some("UDP") => "udp",
            Some(_) => return None,
        };
        let ready = self.selected(key, service).filter(|pod| pod.ready());
        let same_family = |pod: PodView<'_>| {
            let mut ips = pod.ips().into_iter();
            ips.find(|ip| ip.is_ipv4() == vip.is_ipv4())
        };
        Some(Backends {
            service: key.clone(),
            vip,
            protocol,
            port: u16::try_from(port.port).ok()?,
            endpoints: ready
                .filter_map(|pod| Some((same_family(pod)?, pod.target_port(port)?)))
                .collect(),
        })
    }
}

/// The virtual addresses of a service; none if it is headless.
pub fn virtual_addresses(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let many = spec.cluster_ips.as_deref().unwrap_or_default();
    let given = if many.is_empty() {
        spec.cluster_ip.as_slice()
    } else {
        many
    };
    given.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// The families a service asks for, by `spec.ipFamilies`; all if it does not say.
pub fn allows(service: &Service, ip: IpAddr) -> bool {
    let asked = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.as_deref())
        .unwrap_or_default();
    let own = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    asked.is_empty() || asked.iter().any(|family| family == own)
}
