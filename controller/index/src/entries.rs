//! ServiceEntries → `istio.workload.Service`, one per host.
//! In: every ServiceEntry, oldest first, the Services of Kubernetes, the waypoints. Out: one Address resource
//! and one [`ServiceFact`] per host, allocated addresses, conditions. A host that the namespace has already, as
//! a Service or in an older entry, is left to that one, and the status says so.
//! Source: istio/api networking/v1 ServiceEntry; Istio's ambient conversion.

mod addresses;
mod claims;
mod endpoints;
mod workload_entries;

pub(crate) use addresses::Allocated;

use crate::connect_strategy;
use crate::entry_ports as ports;
use crate::octets::octets;
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::services::{Origin, PortFact, ServiceFact};
use crate::statuses::{ACCEPTED, Condition};
use crate::waypoints::{self, Resolution as Waypoint, Share, Waypoints};
use crate::workloads::{Context, Member};
use crate::world::{World, name_of};
use ambit_api::{type_urls, workload as pb};
use ambit_crds::istio::{Resolution, ServiceEntrySpec};
use ambit_crds::{Kind, ObjectKey, Resource as Object};
use claims::{Claim, Claims};
use ipnet::IpNet;
use serde_json::json;

/// Reason of an entry that its own namespace alone sees, with a waypoint in another.
const FORBIDDEN: &str = "CrossNamespaceWaypointForbidden";
/// Condition that tells how far an entry is seen.
const VISIBILITY: &str = "istio.io/VisibilityApplied";
/// Condition of an entry that asks for what only a waypoint does, and has none.
const MISSING: &str = "istio.io/WaypointMissing";

/// An entry and what is the same for all its hosts.
struct Entry<'a> {
    object: &'a Object<ServiceEntrySpec>,
    key: ObjectKey,
    namespace: &'a str,
    name: &'a str,
    visibility: pb::service::Visibility,
    waypoint: Waypoint,
}

/// Derives the services of every entry. `memory`: the addresses allocated last.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    waypoints: &Waypoints<'_>,
    (services, memory): (&[ServiceFact<'a>], &mut Allocated),
    out: &mut Out,
) -> Vec<ServiceFact<'a>> {
    let claims = Claims::new(world, services);
    *memory = addresses::allocate(world, services, memory);
    let mut facts = Vec::new();
    for object in &world.service_entries {
        let entry = Entry::new(world, waypoints, object);
        entry.say_bound(out);
        entry.say_missing(out);
        entry.say_visible(out);
        let mut lost = Vec::new();
        for host in hosts(object) {
            match claims.of(entry.namespace, &host, object) {
                Claim::Lost(winner) => lost.push(format!("{host} is {winner} already")),
                Claim::Won { canonical } => {
                    let addresses = memory.of(object, &host);
                    facts.push(entry.put(world, (host, canonical), addresses, out));
                }
            }
        }
        entry.say_accepted(&lost, memory, out);
    }
    facts
}

/// Derives the workloads of WorkloadEntries and of endpoints that entries list.
pub(crate) fn workloads<'w, 'a>(context: &'w Context<'w, 'a>, out: &mut Out) -> Vec<Member<'w>> {
    let mut members = workload_entries::derive(context, out);
    members.extend(endpoints::derive(context, out));
    members
}

/// Hosts as DNS compares them.
fn hosts(object: &Object<ServiceEntrySpec>) -> impl Iterator<Item = String> {
    object
        .spec
        .hosts
        .iter()
        .map(|host| host.to_ascii_lowercase())
}

/// Whether only its own namespace sees an entry; other lists of namespaces cannot be told to node proxies.
fn is_private(object: &Object<ServiceEntrySpec>) -> bool {
    let (namespace, _) = name_of(&object.metadata);
    let own = |entry: &String| entry == "." || entry == namespace;
    !object.spec.export_to.is_empty() && object.spec.export_to.iter().all(own)
}

/// Virtual addresses as the user wrote them.
fn given(object: &Object<ServiceEntrySpec>) -> Vec<IpNet> {
    let all = object.spec.addresses.iter();
    all.filter_map(|text| crate::encode::net(text))
        .map(|net| net.trunc())
        .collect()
}

impl<'a> Entry<'a> {
    fn new(
        world: &World<'a>,
        waypoints: &Waypoints<'_>,
        object: &'a Object<ServiceEntrySpec>,
    ) -> Self {
        let (namespace, name) = name_of(&object.metadata);
        let visibility = if is_private(object) {
            pb::service::Visibility::Namespace
        } else {
            pb::service::Visibility::Public
        };
        let before = || waypoints::bound_in(object.status.as_ref()?.get("conditions")?);
        let found = waypoints.of_service(world, (namespace, &object.metadata), before);
        let waypoint = usable(world, namespace, visibility, found);
        Self {
            key: ObjectKey::new(Kind::ServiceEntry, namespace, name),
            object,
            namespace,
            name,
            visibility,
            waypoint,
        }
    }

    /// Puts out one host.
    fn put(
        &self,
        world: &World<'a>,
        (host, canonical): (String, bool),
        addresses: Vec<IpNet>,
        out: &mut Out,
    ) -> ServiceFact<'a> {
        let bound = self.waypoint.bound();
        let fact = ServiceFact {
            origin: Origin::Entry(self.object),
            namespace: self.namespace,
            name: self.name,
            key: format!("{}/{host}", self.namespace),
            hostname: host,
            ports: ports::tcp(&self.object.spec)
                .map(|port| PortFact {
                    number: port.number,
                    protocol: ports::protocol(port),
                })
                .collect(),
            waypoint: bound.as_ref().map(|b| b.gateway.clone()),
            canary: self.waypoint.canary(),
            canonical,
            addresses,
        };
        let network = world.network;
        let message = pb::Service {
            name: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            hostname: fact.hostname.clone(),
            addresses: fact
                .addresses
                .iter()
                .map(|net| address(network, net))
                .collect(),
            ports: ports::tcp(&self.object.spec).map(ports::message).collect(),
            subject_alt_names: self.object.spec.subject_alt_names.clone(),
            waypoint: bound.map(|b| b.address),
            weighted_waypoints: self.waypoint.weighted(),
            load_balancing: load_balancing(self.object.spec.resolution),
            canonical,
            visibility: self.visibility.into(),
            ..Default::default()
        };
        let message = pb::Address {
            r#type: Some(pb::address::Type::Service(message)),
        };
        let single = fact.addresses.iter().filter(|net| is_single(net));
        let aliases = single
            .map(|net| format!("{network}/{}", net.addr()))
            .collect();
        let resource = Resource::new(&message, aliases, Audience::Everyone);
        out.resources
            .put(type_urls::ADDRESS, fact.key.clone(), resource);
        fact
    }

    fn say_bound(&self, out: &mut Out) {
        if let Some(condition) = self.waypoint.condition() {
            out.statuses.condition(self.key.clone(), condition);
        }
    }

    fn say_missing(&self, out: &mut Out) {
        if self.waypoint.bound().is_some() {
            return;
        }
        let mut say = |reason, message: &str| {
            let condition = Condition::new(MISSING, true, reason, message);
            out.statuses.condition(self.key.clone(), condition);
        };
        if self.object.spec.resolution == Resolution::DynamicDns {
            let message = "only a waypoint resolves names below a wildcard (istio.io/use-waypoint); \
                           until there is one, connections are refused";
            say("NoWaypointForWildcardService", message);
        }
        if connect_strategy::races(self.object) {
            let message = "only a waypoint races addresses (istio.io/use-waypoint); until there is one, \
                           istio.io/connect-strategy has no effect";
            say("NoWaypointForRacingConnectStrategy", message);
        }
    }

    fn say_visible(&self, out: &mut Out) {
        let export_to = &self.object.spec.export_to;
        let public = export_to.is_empty() || export_to.iter().any(|e| e == "*");
        let condition = if self.visibility == pb::service::Visibility::Namespace {
            let message = format!("seen by namespace {} alone", self.namespace);
            Condition::new(VISIBILITY, true, "Namespace", message)
        } else if public {
            return;
        } else {
            let message = "spec.exportTo: node proxies know all namespaces or the entry's own; every \
                           namespace sees it";
            Condition::new(VISIBILITY, false, "Public", message)
        };
        out.statuses.condition(self.key.clone(), condition);
    }

    fn say_accepted(&self, lost: &[String], memory: &Allocated, out: &mut Out) {
        let full = memory.lacks(self.object);
        let condition = if !lost.is_empty() {
            Condition::rejected("Conflicted", format!("spec.hosts: {}", lost.join("; ")))
        } else if full {
            let message = "no address is left to allocate; give spec.addresses";
            Condition::rejected("AddressesExhausted", message)
        } else {
            Condition::new(ACCEPTED, true, "Accepted", self.in_use())
        };
        out.statuses.condition(self.key.clone(), condition);
        let allocated = memory.listed(self.object);
        if !allocated.is_empty() {
            let list = allocated
                .iter()
                .map(|(host, ip)| json!({"value": ip, "host": host}));
            let list = list.collect();
            out.statuses.field(self.key.clone(), "addresses", list);
        }
    }

    fn in_use(&self) -> String {
        let spec = &self.object.spec;
        let mut refused = Vec::new();
        if spec.resolution == Resolution::DynamicDns {
            let tls = ports::tcp(spec).filter(|port| ports::protocol(port) == pb::AppProtocol::Tls);
            refused.extend(tls.map(|port| port.number.to_string()));
        }
        match &refused[..] {
            [] => "in use".to_owned(),
            numbers => format!(
                "in use; connections to port {} are refused: server names of TLS are not followed",
                numbers.join(", ")
            ),
        }
    }
}

/// What stands against a waypoint that was found.
fn usable(
    world: &World<'_>,
    namespace: &str,
    visibility: pb::service::Visibility,
    found: Waypoint,
) -> Waypoint {
    let Waypoint::Bound(mut bound) = found else {
        return found;
    };
    let is_abroad = |gateway: &str| gateway.split('/').next() != Some(namespace);
    if visibility != pb::service::Visibility::Namespace {
        return Waypoint::Bound(bound);
    }
    if !is_abroad(&bound.gateway) {
        if bound.share.canary().is_some_and(is_abroad) {
            let why = "the canary is in another namespace, and spec.exportTo is `.`".to_owned();
            bound.share = Share::Refused {
                reason: FORBIDDEN,
                why,
            };
        }
        return Waypoint::Bound(bound);
    }
    let gateway = &bound.gateway;
    let message = format!("waypoint {gateway} is in another namespace, and spec.exportTo is `.`");
    let refuse = waypoints::is_required(world, namespace).then_some(bound);
    Waypoint::Unusable {
        reason: FORBIDDEN,
        message,
        refuse,
    }
}

fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

fn address(network: &str, net: &IpNet) -> pb::NetworkAddress {
    pb::NetworkAddress {
        network: network.to_owned(),
        address: octets(net.addr()),
        length: (!is_single(net)).then(|| net.prefix_len().into()),
    }
}

fn load_balancing(resolution: Resolution) -> Option<pb::LoadBalancing> {
    use pb::load_balancing::{HealthPolicy, Mode};
    (resolution == Resolution::None).then(|| pb::LoadBalancing {
        mode: Mode::Passthrough.into(),
        health_policy: HealthPolicy::AllowAll.into(),
        ..Default::default()
    })
}
