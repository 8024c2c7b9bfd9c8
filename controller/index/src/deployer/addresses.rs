//! Addresses of gateways: those their Services have or get, and those their statuses say.
//! A waypoint's status says its cluster addresses and its host name; an ingress gateway's what its load balancer
//! has, or where there is none its host name (`networking.istio.io/address-type: IPAddress`: its addresses).
//! Source: Istio's gateway controller (`GatewayStatus.addresses`).

use crate::address_pool::AddressPool;
use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::selector::label;
use crate::world::World;
use k8s_openapi::api::core::v1::{Node, Service};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Annotation of a Gateway: `Hostname` or `IPAddress`.
const ADDRESS_TYPE: &str = "networking.istio.io/address-type";

/// A pool for each family that pods have, IPv4 first; IPv4 alone where no Node says (`spec.podCIDRs`).
#[derive(Default)]
pub(super) struct Pools(Vec<AddressPool>);

impl Pools {
    pub(super) fn of(world: &World<'_>) -> Self {
        let ranges = |node: &&Node| {
            let spec = node.spec.clone().unwrap_or_default();
            let many = spec.pod_cidrs.unwrap_or_default().into_iter();
            many.chain(spec.pod_cidr).collect::<Vec<_>>()
        };
        let ranges: Vec<String> = world.nodes.values().flat_map(ranges).collect();
        let six = ranges.iter().any(|range| range.contains(':'));
        let four = !six || ranges.iter().any(|range| !range.contains(':'));
        let services = world.services.values();
        let taken: BTreeSet<IpAddr> = services.flat_map(|service| of_service(service)).collect();
        let (block, block_v6) = (world.config.service_block, world.config.service_block_v6);
        let v4 = four.then(|| AddressPool::new((block.0.into(), block.1), taken.clone()));
        let v6 = six.then(|| AddressPool::new((block_v6.0.into(), block_v6.1), taken));
        Self(v4.into_iter().chain(v6).collect())
    }

    /// An address of each family for `name`, which keeps those it `has`; `None`: none is left.
    pub(super) fn take(&mut self, has: &[IpAddr], name: &str) -> Option<Vec<IpAddr>> {
        let pools = self.0.iter_mut();
        pools
            .map(|pool| {
                let kept = has.iter().copied().find(|ip| pool.is_of_family(*ip));
                kept.or_else(|| pool.take(name))
            })
            .collect()
    }
}

/// Virtual addresses of a Service, the first one first.
pub(super) fn of_service(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let mut all: Vec<IpAddr> = Vec::new();
    for text in spec
        .cluster_ip
        .into_iter()
        .chain(spec.cluster_ips.into_iter().flatten())
    {
        match text.parse() {
            Ok(ip) if !all.contains(&ip) => all.push(ip),
            _ => {}
        }
    }
    all
}

/// An address in a Gateway's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Ip(String),
    Hostname(String),
}

impl Published {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Ip(ip) => json!({"type": "IPAddress", "value": ip}),
            Self::Hostname(name) => json!({"type": "Hostname", "value": name}),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Ip(text) | Self::Hostname(text) => text,
        }
    }
}

/// Where clients reach it; `None`: nowhere yet.
pub(super) fn published(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    ips: &[IpAddr],
) -> Option<Vec<Published>> {
    let (namespace, name) = (gateway.name.0, gateway.generated.as_str());
    let in_cluster = world.config.waypoints != WaypointForm::Pods;
    let service = world.services.get(&(namespace, name)).copied();
    if in_cluster && is_load_balancer(service) {
        let given = balancers(service);
        return (!given.is_empty()).then_some(given);
    }
    if ips.is_empty() {
        return None;
    }
    let annotations = gateway.object.metadata.annotations.as_ref();
    let (with_ips, with_name) = match label(annotations, ADDRESS_TYPE) {
        Some("Hostname") => (false, true),
        Some("IPAddress") => (true, false),
        // Without a cluster there is no DNS for the outside.
        _ if gateway.is_ingress() => (!in_cluster, in_cluster),
        _ => (true, true),
    };
    let listed = ips.iter().filter(|_| with_ips);
    let listed = listed.map(|ip| Published::Ip(ip.to_string()));
    let hostname = with_name.then(|| Published::Hostname(world.config.hostname(namespace, name)));
    Some(listed.chain(hostname).collect())
}

fn is_load_balancer(service: Option<&Service>) -> bool {
    let spec = service.and_then(|s| s.spec.as_ref());
    spec.is_some_and(|s| s.type_.as_deref() == Some("LoadBalancer"))
}

fn balancers(service: Option<&Service>) -> Vec<Published> {
    let status = service.and_then(|s| s.status.as_ref());
    let ingress = status.and_then(|s| s.load_balancer.as_ref());
    let given = ingress
        .and_then(|l| l.ingress.as_ref())
        .into_iter()
        .flatten();
    let mut all = Vec::new();
    for one in given {
        let ip = one.ip.clone().map(Published::Ip);
        let address = ip.or_else(|| one.hostname.clone().map(Published::Hostname));
        all.extend(address.filter(|address| !all.contains(address)));
    }
    all
}

/// The one address that `spec.addresses` asks the load balancer for.
pub(super) fn asked(gateway: &GatewayFact<'_>) -> Option<IpAddr> {
    let [asked] = gateway.object.spec.addresses.as_slice() else {
        return None;
    };
    match asked.kind.as_deref() {
        None | Some("IPAddress") => asked.value.parse().ok(),
        Some(_) => None,
    }
}
