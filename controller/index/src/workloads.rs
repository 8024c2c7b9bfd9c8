//! Pods → `istio.workload.Workload`.
//! In: every pod that has an address and has not ended, the services of its namespace, its node,
//! policies and waypoints. Out: one Address resource each, and who is behind each service (`remembered`).
//! Source: `Pod.spec`, `Pod.status`; Istio's pod workload conversion.

pub(crate) mod names;
mod remembered;

pub(crate) use remembered::{Remembered, is_of_gateway};

use crate::octets::octets;
use crate::pods::{account, ended, ready};
use crate::policies::Attachments;
use crate::ports;
use crate::resource::{Audience, Resource};
use crate::selector::{self, Labels, label};
use crate::services::{Origin, ServiceFact};
use crate::waypoints::{Resolution, Traffic, Waypoints};
use crate::world::World;
use ambit_api::{labels, workload as pb};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use remembered::Known;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A workload that is no pod, as routes need it.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Labels<'a>,
    /// Share among the endpoints of a service.
    pub(crate) weight: u32,
    /// Service key → (service port, target port).
    pub(crate) services: Arc<BTreeMap<String, Vec<(u16, u16)>>>,
}

/// Everything that may be behind a service.
pub(crate) struct Members<'m, 'a> {
    pub(crate) pods: &'m Remembered,
    /// What is no pod.
    pub(crate) others: &'m [Member<'a>],
}

/// What workloads are derived from, beside themselves.
pub(crate) struct Context<'w, 'a> {
    pub(crate) world: &'w World<'a>,
    pub(crate) waypoints: &'w Waypoints<'a>,
    pub(crate) services: &'w [ServiceFact<'a>],
    pub(crate) policies: &'w Attachments<'a>,
}

/// Derives every pod that something concerned since the last derivation.
pub(crate) fn derive(context: &Context<'_, '_>, remembered: &mut Remembered) {
    let due = remembered.take_due(context.world);
    if due.is_empty() {
        return;
    }
    let mut by_namespace: BTreeMap<&str, Vec<&ServiceFact<'_>>> = BTreeMap::new();
    for service in context.services {
        let services = by_namespace.entry(service.namespace).or_default();
        services.push(service);
    }
    for pod in due {
        let services = by_namespace.get(&*pod.0).map_or(&[][..], Vec::as_slice);
        let name = (&*pod.0, &*pod.1);
        let object = context.world.pod(name);
        let known = object.and_then(|object| one(context, services, name, object));
        remembered.set(pod, known);
    }
}

fn one(
    context: &Context<'_, '_>,
    services: &[&ServiceFact<'_>],
    (namespace, name): (&str, &str),
    pod: &Pod,
) -> Option<Known> {
    let addresses = addresses(pod.status.as_ref()?);
    if addresses.is_empty() || ended(pod) {
        return None;
    }
    let config = context.world.config;
    let spec = pod.spec.as_ref()?;
    let backed = backed(services, pod, spec);
    let uid = format!("{}//Pod/{namespace}/{name}", config.cluster_id);
    let host_network = spec.host_network.unwrap_or(false);
    let message = message(context, (namespace, name), pod, spec);
    let message = pb::Workload {
        uid: uid.clone(),
        addresses: addresses.iter().map(|ip| octets(*ip)).collect(),
        services: backed
            .iter()
            .map(|(key, ports)| (key.clone(), port_list(ports)))
            .collect(),
        ..message
    };
    let address = pb::Address {
        r#type: Some(pb::address::Type::Workload(message)),
    };
    let alias = |ip: &IpAddr| format!("{}/{ip}", context.world.network);
    let aliases = match host_network {
        true => Vec::new(),
        false => addresses.iter().map(alias).collect(),
    };
    Some(Known {
        uid: uid.into(),
        resource: Resource::new(&address, aliases, Audience::Everyone),
        services: Arc::new(backed),
    })
}

/// All but the uid, addresses and services.
fn message(
    context: &Context<'_, '_>,
    (namespace, name): (&str, &str),
    pod: &Pod,
    spec: &PodSpec,
) -> pb::Workload {
    let config = context.world.config;
    let labels = pod.metadata.labels.as_ref();
    let annotations = pod.metadata.annotations.as_ref();
    let gateway = label(labels, labels::GATEWAY_NAME);
    let is_waypoint = gateway.is_some_and(|g| context.waypoints.is_waypoint(namespace, g));
    let native = is_waypoint || label(labels, labels::TUNNEL) == Some("http");
    let captured = label(annotations, labels::REDIRECTION) == Some("enabled");
    let waypoint = match gateway {
        Some(_) => Resolution::None,
        None => {
            let named = (namespace, labels);
            context
                .waypoints
                .resolve(context.world, named, Traffic::Workload, || None)
        }
    };
    let tunnel = gateway.and_then(|g| context.waypoints.application_tunnel(namespace, g));
    let workload_name = names::workload_name(pod, name);
    let node = spec.node_name.as_deref().unwrap_or_default();
    pb::Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        network: context.world.network.to_owned(),
        tunnel_protocol: match native || captured {
            true => pb::TunnelProtocol::Hbone,
            false => pb::TunnelProtocol::None,
        }
        .into(),
        native_tunnel: native,
        application_tunnel: tunnel,
        trust_domain: config.wire_trust_domain(),
        service_account: account(spec).to_owned(),
        waypoint: waypoint.bound().map(|b| b.address),
        node: node.to_owned(),
        canonical_name: names::canonical_name(labels, &workload_name),
        canonical_revision: names::canonical_revision(labels),
        workload_type: pb::WorkloadType::Pod.into(),
        workload_name,
        authorization_policies: context.policies.of(namespace, labels),
        status: match ready(pod) {
            true => pb::WorkloadStatus::Healthy,
            false => pb::WorkloadStatus::Unhealthy,
        }
        .into(),
        cluster_id: config.cluster_id.clone(),
        locality: context.world.locality(node),
        network_mode: match spec.host_network.unwrap_or(false) {
            true => pb::NetworkMode::HostNetwork,
            false => pb::NetworkMode::Standard,
        }
        .into(),
        ..Default::default()
    }
}

fn addresses(status: &PodStatus) -> Vec<IpAddr> {
    let many: Vec<IpAddr> = status
        .pod_ips
        .iter()
        .flatten()
        .filter_map(|p| p.ip.parse().ok())
        .collect();
    if many.is_empty() {
        let one = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        return one.into_iter().collect();
    }
    many
}

/// Services whose selector matches the pod, with the ports that resolve in it.
fn backed(
    services: &[&ServiceFact<'_>],
    pod: &Pod,
    spec: &PodSpec,
) -> BTreeMap<String, Vec<(u16, u16)>> {
    let mut backed = BTreeMap::new();
    for service in services {
        let wanted = match service.origin {
            Origin::Service(object) => object.spec.as_ref().and_then(|s| s.selector.as_ref()),
            Origin::Entry(entry) => entry.spec.workload_selector.as_ref().map(|s| &s.labels),
        };
        // Without a selector it selects nothing; EndpointSlices say what backs it.
        let Some(wanted) = wanted.filter(|s| !s.is_empty()) else {
            continue;
        };
        if !selector::matches(wanted, pod.metadata.labels.as_ref()) {
            continue;
        }
        let ports = match service.origin {
            Origin::Service(object) => {
                ports::tcp(object.spec.as_ref().and_then(|s| s.ports.as_ref()))
                    .filter_map(|p| Some((ports::number(p.port)?, ports::pod_target(p, spec)?)))
                    .collect()
            }
            Origin::Entry(entry) => crate::entry_ports::of_pod(&entry.spec, spec),
        };
        backed.insert(service.key.clone(), ports);
    }
    backed
}

/// Ports of one service as a workload carries them.
pub(crate) fn port_list(ports: &[(u16, u16)]) -> pb::PortList {
    let one = |(service_port, target_port): &(u16, u16)| pb::Port {
        service_port: (*service_port).into(),
        target_port: (*target_port).into(),
        app_protocol: 0,
    };
    pb::PortList {
        ports: ports.iter().map(one).collect(),
    }
}
