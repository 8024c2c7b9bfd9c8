//! Workloads that are no pods: endpoints that ServiceEntries list, and hosts that are resolved by name.
//! In: the services of each entry, the entry's endpoints. Out: one Address resource and [`Member`] each.
//! A workload has an address or a name, never both; the proxy that dials it resolves a name.
//! Source: Istio's ambient conversion of `ServiceEntry.spec.endpoints`.

use crate::entry_ports as ports;
use crate::octets::octets;
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector::{Labels, label};
use crate::services::{Origin, ServiceFact};
use crate::waypoints::{Bound, Traffic};
use crate::workloads::{Context, Member, names, port_list};
use crate::world::Name;
use ambit_api::{labels, type_urls, workload as pb};
use ambit_crds::Resource as Object;
use ambit_crds::istio::{ServiceEntrySpec, WorkloadEntrySpec};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A workload as users write it, and what was found for it.
pub(super) struct Description<'d, 'l> {
    pub(super) uid: String,
    pub(super) namespace: &'d str,
    pub(super) name: &'d str,
    pub(super) workload_name: &'d str,
    pub(super) spec: &'d WorkloadEntrySpec,
    /// For policies and telemetry.
    pub(super) labels: Labels<'d>,
    /// For subsets.
    pub(super) subsets: Labels<'l>,
    /// Of the object it stands in.
    pub(super) annotations: Labels<'d>,
    pub(super) waypoint: Option<Bound>,
    pub(super) healthy: bool,
    /// Service key → ports.
    pub(super) services: BTreeMap<String, ports::Pairs>,
}

/// Derives the endpoints of every entry that has services.
pub(super) fn derive<'a>(context: &Context<'_, 'a>, out: &mut Out) -> Vec<Member<'a>> {
    let mut by_entry: BTreeMap<Name<'a>, (&'a Object<ServiceEntrySpec>, Vec<&ServiceFact<'a>>)> =
        BTreeMap::new();
    for service in context.services {
        if let Origin::Entry(object) = service.origin {
            let name = (service.namespace, service.name);
            let services = by_entry.entry(name).or_insert((object, Vec::new()));
            services.1.push(service);
        }
    }
    let mut members = Vec::new();
    for (name, (object, services)) in by_entry {
        let spec = &object.spec;
        let implicit = spec.endpoints.is_empty()
            && spec.resolution.by_name()
            && spec.workload_selector.is_none();
        if implicit {
            for service in &services {
                let endpoint = WorkloadEntrySpec {
                    address: service.hostname.clone(),
                    ..Default::default()
                };
                let one = (&endpoint, service.hostname.clone(), None);
                members.push(listed(context, (name, object), one, &[service], out));
            }
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for endpoint in &spec.endpoints {
            // An address may be listed for several ports.
            let times = seen.entry(&endpoint.address).or_default();
            let id = match *times {
                0 => endpoint.address.clone(),
                again => format!("{}#{again}", endpoint.address),
            };
            *times += 1;
            let one = (endpoint, id, Some(&endpoint.labels));
            members.push(listed(context, (name, object), one, &services, out));
        }
    }
    members
}

fn listed<'a>(
    context: &Context<'_, 'a>,
    ((namespace, name), object): (Name<'a>, &'a Object<ServiceEntrySpec>),
    (endpoint, id, subsets): (&WorkloadEntrySpec, String, Labels<'a>),
    services: &[&ServiceFact<'_>],
    out: &mut Out,
) -> Member<'a> {
    let found = (namespace, Some(&endpoint.labels));
    let waypoint = context
        .waypoints
        .resolve(context.world, found, Traffic::Workload, || None);
    let cluster = &context.world.config.cluster_id;
    let ports = |s: &&ServiceFact<'_>| (s.key.clone(), ports::of_workload(s, endpoint));
    let description = Description {
        uid: format!("{cluster}/networking.istio.io/ServiceEntry/{namespace}/{name}/{id}"),
        namespace,
        name,
        workload_name: name,
        spec: endpoint,
        labels: object.metadata.labels.as_ref(),
        subsets,
        annotations: object.metadata.annotations.as_ref(),
        waypoint: waypoint.bound(),
        healthy: true,
        services: services.iter().map(ports).collect(),
    };
    put(context, description, out)
}

/// Puts out one workload.
pub(super) fn put<'l>(
    context: &Context<'_, '_>,
    it: Description<'_, 'l>,
    out: &mut Out,
) -> Member<'l> {
    let message = message(context, &it);
    let network = message.network.clone();
    let aliases = match it.spec.address.parse::<IpAddr>() {
        Ok(ip) => vec![format!("{network}/{ip}")],
        Err(_) => Vec::new(),
    };
    let address = pb::Address {
        r#type: Some(pb::address::Type::Workload(message)),
    };
    let resource = Resource::new(&address, aliases, Audience::Everyone);
    out.resources
        .put(type_urls::ADDRESS, it.uid.clone(), resource);
    Member {
        uid: it.uid.into(),
        labels: it.subsets,
        weight: it.spec.weight.max(1),
        services: Arc::new(it.services),
    }
}

fn message(context: &Context<'_, '_>, it: &Description<'_, '_>) -> pb::Workload {
    let config = context.world.config;
    let spec = it.spec;
    let ip = spec.address.parse::<IpAddr>().ok();
    let native = label(it.labels, labels::TUNNEL) == Some("http")
        || spec.labels.get(labels::TUNNEL).map(String::as_str) == Some("http");
    let captured = label(it.annotations, labels::REDIRECTION) == Some("enabled");
    pb::Workload {
        uid: it.uid.clone(),
        name: it.name.to_owned(),
        namespace: it.namespace.to_owned(),
        addresses: ip.map(octets).into_iter().collect(),
        hostname: match ip {
            Some(_) => String::new(),
            None => spec.address.to_ascii_lowercase(),
        },
        network: match spec.network.as_str() {
            "" => context.world.network.to_owned(),
            other => other.to_owned(),
        },
        tunnel_protocol: match native || captured {
            true => pb::TunnelProtocol::Hbone,
            false => pb::TunnelProtocol::None,
        }
        .into(),
        native_tunnel: native,
        trust_domain: config.wire_trust_domain(),
        service_account: spec.service_account.clone(),
        waypoint: it.waypoint.as_ref().map(|b| b.address.clone()),
        canonical_name: names::canonical_name(it.labels, it.workload_name),
        canonical_revision: names::canonical_revision(it.labels),
        workload_type: pb::WorkloadType::Pod.into(),
        workload_name: it.workload_name.to_owned(),
        authorization_policies: context.policies.of(it.namespace, it.labels),
        status: match it.healthy {
            true => pb::WorkloadStatus::Healthy,
            false => pb::WorkloadStatus::Unhealthy,
        }
        .into(),
        cluster_id: config.cluster_id.clone(),
        locality: locality(&spec.locality),
        capacity: (spec.weight > 0).then_some(spec.weight),
        services: it
            .services
            .iter()
            .map(|(key, ports)| (key.clone(), port_list(ports)))
            .collect(),
        ..Default::default()
    }
}

/// `region/zone/subzone`.
fn locality(text: &str) -> Option<pb::Locality> {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let locality = pb::Locality {
        region: part(),
        zone: part(),
        subzone: part(),
    };
    (locality != pb::Locality::default()).then_some(locality)
}
