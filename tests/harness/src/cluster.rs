//! The objects of the directory, as a node sees them.
//! In: batches of changes from `ambit_source`. Out: an immutable [`Cluster`] on a watch channel.
//! Owns: the one task that applies changes. Readers hold an `Arc`.
//! Never here: deciding what to run.

pub mod pod;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};

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
    pub vip: Ipv4Addr,
    /// `tcp` or `udp`
    pub protocol: &'static str,
    /// Its port
    pub port: u16,
    /// Ready endpoints: address and target port
    pub endpoints: Vec<(Ipv4Addr, u16)>,
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

    /// Every port of every service with a virtual address.
    pub fn backends(&self) -> Vec<Backends> {
        let mut all = Vec::new();
        for (key, service) in &self.services {
            let Some(spec) = &service.spec else { continue };
            let vip = spec
                .cluster_ip
                .as_ref()
                .and_then(|ip| ip.parse::<Ipv4Addr>().ok());
            let Some(vip) = vip else { continue };
            for port in spec.ports.iter().flatten() {
                let Ok(number) = u16::try_from(port.port) else {
                    continue;
                };
                let protocol = match port.protocol.as_deref() {
                    None | Some("TCP") => "tcp",
                    Some("UDP") => "udp",
                    Some(_) => continue,
                };
                let endpoints = self
                    .selected(key, service)
                    .filter(|pod| pod.ready())
                    .filter_map(|pod| Some((pod.ip()?, pod.target_port(port)?)))
                    .collect();
                all.push(Backends {
                    service: key.clone(),
                    vip,
                    protocol,
                    port: number,
                    endpoints,
                });
            }
        }
        all
    }
}
