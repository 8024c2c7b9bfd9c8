//! Endpoints without a pod → `istio.workload.Workload`: the API server, things outside.
//! In: EndpointSlices of services we derived. Out: one Address resource per address that no pod
//! accounts for. Endpoints that refer to a pod are that pod's matter; which slices have any others is
//! remembered between batches.
//! Source: `discovery.k8s.io/v1 EndpointSlice`.

use crate::octets::octets;
use crate::out::Out;
use crate::ports;
use crate::resource::{Audience, Resource};
use crate::services::ServiceFact;
use crate::workloads::{Member, port_list};
use crate::world::World;
use ambit_api::{type_urls, workload as pb};
use ambit_crds::{Kind, Object, ObjectKey};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Names the service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Slices with endpoints that are no pods; `None`: not looked for yet.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Option<BTreeSet<(String, String)>>);

impl Remembered {
    /// Takes over a change of one object.
    pub(crate) fn changes(&mut self, key: &ObjectKey, after: Option<&Object>) {
        let Some(slices) = self.0.as_mut().filter(|_| key.kind == Kind::EndpointSlice) else {
            return;
        };
        let name = (key.namespace.to_string(), key.name.to_string());
        match after {
            Some(Object::EndpointSlice(slice)) if has_others(slice) => drop(slices.insert(name)),
            _ => drop(slices.remove(&name)),
        }
    }

    fn get(&mut self, world: &World<'_>) -> &BTreeSet<(String, String)> {
        self.0.get_or_insert_with(|| {
            let slices = world.slices().filter(|(_, slice)| has_others(slice));
            let name = |((namespace, name), _): ((&str, &str), _)| (namespace.into(), name.into());
            slices.map(name).collect()
        })
    }
}

/// Whether some endpoint is no pod.
fn has_others(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| !is_pod(endpoint))
}

fn is_pod(endpoint: &Endpoint) -> bool {
    let kind = endpoint.target_ref.as_ref().and_then(|t| t.kind.as_deref());
    kind == Some("Pod")
}

/// Derives every endpoint without a pod.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    services: &[ServiceFact<'a>],
    remembered: &mut Remembered,
    out: &mut Out,
) -> Vec<Member<'a>> {
    let slices = remembered.get(world);
    if slices.is_empty() {
        return Vec::new();
    }
    let by_name: BTreeMap<(&str, &str), &ServiceFact<'a>> = services
        .iter()
        .filter(|s| s.service().is_some())
        .map(|s| ((s.namespace, s.name), s))
        .collect();
    let mut members = Vec::new();
    for (namespace, name) in slices {
        let Some(slice) = world.slice((namespace, name)) else {
            continue;
        };
        let labels = slice.metadata.labels.as_ref();
        let service = crate::selector::label(labels, SERVICE_NAME)
            .and_then(|service| by_name.get(&(namespace.as_str(), service)));
        let Some(service) = service else {
            continue;
        };
        if slice.address_type == "FQDN" {
            continue;
        }
        let ports = target_ports(service, slice);
        for endpoint in slice.endpoints.iter().filter(|e| !is_pod(e)) {
            let addresses = endpoint.addresses.iter().filter_map(|a| a.parse().ok());
            for ip in addresses {
                let message = message(world, (namespace, name), endpoint, ip);
                members.push(put(message, &service.key, &ports, out));
            }
        }
    }
    members
}

fn put<'a>(
    mut message: pb::Workload,
    service: &str,
    ports: &[(u16, u16)],
    out: &mut Out,
) -> Member<'a> {
    let uid = message.uid.clone();
    message
        .services
        .insert(service.to_owned(), port_list(ports));
    let address = pb::Address {
        r#type: Some(pb::address::Type::Workload(message)),
    };
    let resource = Resource::new(&address, Vec::new(), Audience::Everyone);
    out.resources.put(type_urls::ADDRESS, uid.clone(), resource);
    Member {
        uid: uid.into(),
        labels: None,
        weight: 1,
        services: Arc::new(BTreeMap::from([(service.to_owned(), ports.to_vec())])),
    }
}

fn message(
    world: &World<'_>,
    (namespace, name): (&str, &str),
    endpoint: &Endpoint,
    ip: IpAddr,
) -> pb::Workload {
    let config = world.config;
    let ready = endpoint.conditions.as_ref().and_then(|c| c.ready);
    let node = endpoint.node_name.as_deref().unwrap_or_default();
    let cluster = &config.cluster_id;
    pb::Workload {
        uid: format!("{cluster}/discovery.k8s.io/EndpointSlice/{namespace}/{name}/{ip}"),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        addresses: vec![octets(ip)],
        network: world.network.to_owned(),
        tunnel_protocol: pb::TunnelProtocol::None.into(),
        trust_domain: config.wire_trust_domain(),
        node: node.to_owned(),
        workload_type: pb::WorkloadType::Pod.into(),
        workload_name: name.to_owned(),
        canonical_name: name.to_owned(),
        canonical_revision: "latest".to_owned(),
        // An endpoint that does not say is ready (EndpointConditions.ready).
        status: match ready.unwrap_or(true) {
            true => pb::WorkloadStatus::Healthy,
            false => pb::WorkloadStatus::Unhealthy,
        }
        .into(),
        cluster_id: cluster.clone(),
        // Its address may be a node's, which other things share.
        network_mode: pb::NetworkMode::HostNetwork.into(),
        ..Default::default()
    }
}

/// Service port → port of the slice, joined by the port's name.
fn target_ports(service: &ServiceFact<'_>, slice: &EndpointSlice) -> Vec<(u16, u16)> {
    let spec = service.service().and_then(|s| s.spec.as_ref());
    ports::tcp(spec.and_then(|s| s.ports.as_ref()))
        .filter_map(|port| {
            let name = port.name.as_deref().unwrap_or_default();
            let target = slice.ports.iter().flatten().find(|p| {
                p.name.as_deref().unwrap_or_default() == name
                    && p.protocol.as_deref().is_none_or(|p| p == "TCP")
            })?;
            Some((ports::number(port.port)?, ports::number(target.port?)?))
        })
        .collect()
}
