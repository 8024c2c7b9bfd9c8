//! Which endpoint of a service takes a connection, and on which port.
//! In: snapshot, service, port, where the client is. Out: one endpoint and its target port.
//! Two passes over the endpoints and one random number; nothing is collected.
//! Spec: `istio.workload.LoadBalancing`.

use super::trace::{Fact, Trace};
use ambit_model::ids::NetworkId;
use ambit_model::service::{LoadBalancingMode, Scope, Service};
use ambit_model::snapshot::Snapshot;
use ambit_model::workload::{Health, Workload};
use rand::Rng;
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks.
pub(super) struct Client<'a> {
    pub(super) workload: &'a Workload,
    pub(super) network: &'a NetworkId,
    /// What its application dialled: the family it can certainly use.
    pub(super) dialled: IpAddr,
}

/// What is asked of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Traffic of a service port.
    Application,
    /// The endpoint is a waypoint: an application tunnel makes up for a missing port.
    Waypoint,
}

/// The endpoint chosen.
pub(super) struct Choice {
    pub(super) workload: Arc<Workload>,
    pub(super) target_port: u16,
}

/// Why there is none.
pub(super) enum NoChoice {
    /// The service has no such port.
    Port,
    /// No endpoint is ready, reachable and has the port.
    Endpoint,
    /// There are some, all of them in another network.
    OtherNetwork(NetworkId),
}

pub(super) fn choose(
    snapshot: &Snapshot,
    (service, port, purpose): (&Service, u16, Purpose),
    client: &Client<'_>,
    (rng, trace): (&mut impl Rng, &mut Trace),
) -> Result<Choice, NoChoice> {
    if purpose == Purpose::Application && !service.ports.contains_key(&port) {
        return Err(NoChoice::Port);
    }
    let usable = || {
        snapshot.endpoints(&service.key).filter_map(|w| {
            let target_port = target_port(w, service, port, purpose)?;
            let healthy = w.health == Health::Healthy || service.load_balancing.allow_unhealthy;
            (healthy && w.capacity > 0).then_some((w, target_port))
        })
    };
    let mut found = Survey::default();
    for (workload, _) in usable() {
        if &workload.network != client.network {
            found.elsewhere.get_or_insert(&workload.network);
        } else if is_addressable(workload, service) {
            found.eligible += 1;
            found.add(fit(service, workload, client), workload.capacity);
        }
    }
    trace.push(Fact::Compared {
        service: service.key.clone(),
        mode: service.load_balancing.mode,
        eligible: found.eligible,
        of: snapshot.endpoint_count(&service.key),
        best: found.best_count,
    });
    let Some(best) = found.best else {
        return Err(match found.elsewhere {
            Some(network) if found.eligible == 0 => NoChoice::OtherNetwork(network.clone()),
            _ => NoChoice::Endpoint,
        });
    };
    let mut left = rng.random_range(0..found.weight);
    for (workload, target_port) in usable() {
        let candidate = &workload.network == client.network
            && is_addressable(workload, service)
            && fit(service, workload, client) == Some(best);
        if !candidate {
            continue;
        }
        let weight = u64::from(workload.capacity);
        if left < weight {
            let uid = workload.uid.clone();
            trace.push(Fact::Chose {
                workload: uid,
                target_port,
            });
            return Ok(Choice {
                workload: workload.clone(),
                target_port,
            });
        }
        left -= weight;
    }
    Err(NoChoice::Endpoint)
}

#[derive(Default)]
struct Survey<'a> {
    eligible: usize,
    best: Option<usize>,
    best_count: usize,
    /// Sum of the capacities of the best.
    weight: u64,
    elsewhere: Option<&'a NetworkId>,
}

impl Survey<'_> {
    /// `rank` is `None` for an endpoint the preference excludes.
    fn add(&mut self, rank: Option<usize>, capacity: u32) {
        if rank.is_none() || rank < self.best {
            return;
        }
        if rank > self.best {
            self.best = rank;
            self.best_count = 0;
            self.weight = 0;
        }
        self.best_count += 1;
        self.weight += u64::from(capacity);
    }
}

/// Whether it can be dialled at all: it has a name to resolve, or an address of a family of the service.
fn is_addressable(workload: &Workload, service: &Service) -> bool {
    let allowed = |ip: &IpAddr| service.ip_families.allows(*ip);
    workload.addresses.iter().any(allowed)
        || (workload.addresses.is_empty() && !workload.hostname.is_empty())
}

/// Endpoint's own mapping, then the service's, then the port itself behind an application tunnel.
pub(super) fn target_port(
    workload: &Workload,
    service: &Service,
    port: u16,
    purpose: Purpose,
) -> Option<u16> {
    let own = workload
        .services
        .get(&service.key)
        .and_then(|ports| ports.get(&port));
    let common = service.ports.get(&port).map(|p| &p.target_port);
    let mapped = own
        .copied()
        .filter(|p| *p != 0)
        .or_else(|| common.copied().filter(|p| *p != 0));
    mapped.or_else(|| {
        let tunnel = workload.application_tunnel?;
        (tunnel.port != 0 || purpose == Purpose::Waypoint).then_some(port)
    })
}

/// How well an endpoint fits the connection; larger is better, `None` excludes it. Endpoints with an address
/// of the family that was dialled come first, whatever their distance: the client may have no other.
fn fit(service: &Service, workload: &Workload, client: &Client<'_>) -> Option<usize> {
    let allowed = service.ip_families.allows(client.dialled);
    let same_family = |ip: &IpAddr| allowed && ip.is_ipv4() == client.dialled.is_ipv4();
    // A name may have addresses of any family.
    let same = workload.addresses.is_empty() || workload.addresses.iter().any(same_family);
    let nearness = rank(service, workload, client)?;
    Some(if same {
        nearness + SAME_FAMILY
    } else {
        nearness
    })
}

/// How near it is; larger is nearer.
fn rank(service: &Service, workload: &Workload, client: &Client<'_>) -> Option<usize> {
    let scopes = &service.load_balancing.preference;
    let matched = |s: &Scope| matches(*s, workload, client);
    match service.load_balancing.mode {
        LoadBalancingMode::Any | LoadBalancingMode::Passthrough => Some(0),
        LoadBalancingMode::Strict => scopes.iter().all(matched).then_some(0),
        LoadBalancingMode::Failover => Some(match scopes.split_first() {
            // Another network costs more than any distance within ours: it comes before the rest.
            Some((Scope::Network, rest)) => {
                let bonus = if matched(&Scope::Network) {
                    scopes.len()
                } else {
                    0
                };
                bonus + rest.iter().take_while(|s| matched(s)).count()
            }
            _ => scopes.iter().take_while(|s| matched(s)).count(),
        }),
    }
}

fn matches(scope: Scope, workload: &Workload, client: &Client<'_>) -> bool {
    let (w, c) = (workload, client.workload);
    match scope {
        Scope::Region => w.locality.region == c.locality.region,
        Scope::Zone => w.locality.zone == c.locality.zone,
        Scope::Subzone => w.locality.subzone == c.locality.subzone,
        Scope::Node => w.node == c.node,
        Scope::Cluster => w.cluster_id == c.cluster_id,
        Scope::Network => &w.network == client.network,
    }
}

/// More than any number of scopes.
const SAME_FAMILY: usize = 1 << 16;

/// The address to dial: one the service allows, of the family that was dialled if there is one.
pub(super) fn address(workload: &Workload, service: &Service, dialled: IpAddr) -> Option<IpAddr> {
    let allowed = || {
        workload
            .addresses
            .iter()
            .filter(|ip| service.ip_families.allows(**ip))
    };
    allowed()
        .find(|ip| ip.is_ipv4() == dialled.is_ipv4())
        .or_else(|| allowed().next())
        .copied()
}
