//! Next hop of a connection captured from a pod.
//! In: the snapshot, the pod's own workload, the address its application dialled. Out: `Decided`.
//! An address at which both a workload and a service are known belongs to the workload.
//! Fails closed: a service without endpoints, a waypoint that cannot be found, another network.
//! Spec: `istio.workload`, Istio's node proxy (outbound); ARCHITECTURE.md "One connection".

use super::endpoint::{self, Client, NoChoice, Purpose};
use super::is_reserved;
use super::trace::{Fact, Gateway, Trace};
use super::waypoint;
use ambit_api::ports;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::{NetworkId, ServiceKey, SpiffeId, WorkloadUid};
use ambit_model::service::{LoadBalancingMode, Service};
use ambit_model::snapshot::{Found, Snapshot};
use ambit_model::waypoint::GatewayAddress;
use ambit_model::workload::{TunnelProtocol, Workload};
use rand::Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;

/// One captured connection and what its pod is.
#[derive(Clone, Debug)]
pub struct CapturedConn {
    /// The pod's own workload: by namespace, name and service account, never by address.
    pub source: Arc<Workload>,
    /// Network of this node.
    pub network: NetworkId,
    /// Where the application connected to; canonicalised here.
    pub original_dst: SocketAddr,
    /// Answers to earlier [`Decision::Need`]s: addresses by hostname, in order of preference.
    pub resolved: BTreeMap<Arc<str>, Vec<IpAddr>>,
}

impl CapturedConn {
    /// A connection nothing has been resolved for yet.
    pub fn new(source: Arc<Workload>, network: NetworkId, original_dst: SocketAddr) -> Self {
        Self {
            source,
            network,
            original_dst,
            resolved: BTreeMap::new(),
        }
    }
}

/// A decision and the facts behind it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What to do.
    pub decision: Decision,
    /// Why.
    pub trace: Trace,
}

/// What to do with a captured connection.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Dial this.
    Dial(Upstream),
    /// Nobody we know: plain TCP to where the application wanted to go.
    PassThrough {
        /// Original destination.
        to: SocketAddr,
        /// The service that asks for this, if it is one.
        service: Option<Arc<Service>>,
    },
    /// Refuse it.
    Deny(Denial),
    /// Something is missing; fetch it, put it into [`CapturedConn`] and decide again.
    Need(ResourceName),
}

/// What a decision lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceName {
    /// The addresses of this hostname (DNS A and AAAA), into [`CapturedConn::resolved`].
    Hostname(Arc<str>),
}

/// What is dialled.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Address and port of the TCP connection.
    pub address: SocketAddr,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Who is dialled: the endpoint, or the waypoint.
    pub workload: Arc<Workload>,
    /// The service the application addressed; with [`Via::Waypoint`] still that one.
    pub service: Option<Arc<Service>>,
    /// Its port that was addressed.
    pub service_port: Option<u16>,
    /// Whether the peer is the destination.
    pub via: Via,
}

/// What is spoken to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Plain TCP.
    Tcp,
    /// A CONNECT stream in mutual TLS.
    Hbone {
        /// Any of these identities is the right peer; never empty.
        expected: Vec<SpiffeId>,
        /// `:authority` of the CONNECT.
        authority: String,
    },
}

/// Whether the peer dialled is the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Via {
    /// It is.
    Direct,
    /// It is a waypoint that routes onward.
    Waypoint,
}

/// Why a captured connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
pub enum Denial {
    /// Its destination port is one of the proxy's own.
    #[error("attempted recursive call to ourselves: port {port} is reserved")]
    ReservedPort {
        /// The port.
        port: u16,
    },
    /// The service has no such port.
    #[error("no healthy upstream: service {service} has no port {port}")]
    NoSuchPort {
        /// The service.
        service: ServiceKey,
        /// The port dialled.
        port: u16,
    },
    /// No endpoint can take it.
    #[error("no healthy upstream: none of {endpoints} endpoints of {service} takes port {port}")]
    NoHealthyUpstream {
        /// The service.
        service: ServiceKey,
        /// The port dialled.
        port: u16,
        /// How many endpoints it has, ready or not.
        endpoints: usize,
    },
    /// A waypoint is named that nobody is.
    #[error("unknown waypoint {}", Gateway(waypoint))]
    UnknownWaypoint {
        /// As named.
        waypoint: GatewayAddress,
    },
    /// The waypoint has no ready instance.
    #[error(
        "no healthy upstream: waypoint {} has no ready instance",
        Gateway(waypoint)
    )]
    WaypointUnavailable {
        /// As named.
        waypoint: GatewayAddress,
    },
    /// The target is in another network, which is not supported yet.
    #[error("not supported yet: the destination is in another network, `{network}`")]
    NotSupported {
        /// That network.
        network: NetworkId,
    },
    /// The workload chosen has no address we may use.
    #[error("no ip addresses were resolved for workload {workload}")]
    NoAddress {
        /// The workload.
        workload: WorkloadUid,
    },
}

/// Picks the next hop of one captured connection. O(1) in workloads and services, O(endpoints) in the
/// endpoints of the service addressed; `rng` picks among equals.
pub fn decide(snapshot: &Snapshot, conn: &CapturedConn, rng: &mut impl Rng) -> Decided {
    let mut trace = Trace::default();
    let decision = decide_traced(snapshot, conn, rng, &mut trace);
    Decided {
        decision: decision.unwrap_or_else(Decision::Deny),
        trace,
    }
}

fn decide_traced(
    snapshot: &Snapshot,
    conn: &CapturedConn,
    rng: &mut impl Rng,
    trace: &mut Trace,
) -> Result<Decision, Denial> {
    let to = SocketAddr::new(
        conn.original_dst.ip().to_canonical(),
        conn.original_dst.port(),
    );
    trace.push(Fact::Dialled {
        address: to,
        network: conn.network.clone(),
    });
    if is_reserved(to.port()) {
        trace.push(Fact::Reserved(to.port()));
        return Err(Denial::ReservedPort { port: to.port() });
    }
    let address = NetworkAddress::new(conn.network.clone(), to.ip());
    match snapshot.lookup(&address, &conn.source.namespace) {
        Some(Found::Workload(target)) => {
            trace.push(Fact::IsWorkload(target.uid.clone()));
            to_workload(snapshot, (conn, to), target, (rng, trace))
        }
        Some(Found::Service(service)) => {
            trace.push(Fact::IsService(service.key.clone()));
            to_service(snapshot, (conn, to), service, (rng, trace))
        }
        None => {
            trace.push(Fact::IsUnknown);
            Ok(Decision::PassThrough { to, service: None })
        }
    }
}

fn client(conn: &CapturedConn, to: SocketAddr) -> Client<'_> {
    Client {
        workload: &conn.source,
        network: &conn.network,
        dialled: to.ip(),
    }
}

fn to_service(
    snapshot: &Snapshot,
    (conn, to): (&CapturedConn, SocketAddr),
    service: Arc<Service>,
    (rng, trace): (&mut impl Rng, &mut Trace),
) -> Result<Decision, Denial> {
    let client = client(conn, to);
    if let Some((gateway, weighted)) = waypoint::of_service(&service, rng) {
        trace.push(Fact::NamesWaypoint {
            waypoint: gateway.clone(),
            weighted,
        });
        if waypoint::contains(snapshot, gateway, &conn.source) {
            trace.push(Fact::SourceIsWaypoint);
        } else {
            let found = waypoint::resolve(snapshot, gateway, &client, (rng, trace))?;
            return Ok(Decision::Dial(through(found, to, Some(service.clone()))));
        }
    }
    if service.load_balancing.mode == LoadBalancingMode::Passthrough {
        trace.push(Fact::PassesThrough(service.key.clone()));
        return Ok(Decision::PassThrough {
            to,
            service: Some(service),
        });
    }
    let wanted = (&*service, to.port(), Purpose::Application);
    let choice =
        endpoint::choose(snapshot, wanted, &client, (rng, trace)).map_err(|e| match e {
            NoChoice::Port => Denial::NoSuchPort {
                service: service.key.clone(),
                port: to.port(),
            },
            NoChoice::Endpoint => Denial::NoHealthyUpstream {
                service: service.key.clone(),
                port: to.port(),
                endpoints: snapshot.endpoint_count(&service.key),
            },
            NoChoice::OtherNetwork(network) => Denial::NotSupported { network },
        })?;
    if is_reserved(choice.target_port) {
        trace.push(Fact::Reserved(choice.target_port));
        return Err(Denial::ReservedPort {
            port: choice.target_port,
        });
    }
    let ip = match endpoint::address(&choice.workload, &service, to.ip()) {
        Some(ip) => ip,
        None => match by_name(conn, &choice.workload, to.ip(), trace)? {
            Ok(ip) => ip,
            Err(need) => return Ok(Decision::Need(need)),
        },
    };
    let target = SocketAddr::new(ip, choice.target_port);
    Ok(Decision::Dial(direct(
        choice.workload,
        target,
        Some((service, to.port())),
    )))
}

fn to_workload(
    snapshot: &Snapshot,
    (conn, to): (&CapturedConn, SocketAddr),
    target: Arc<Workload>,
    (rng, trace): (&mut impl Rng, &mut Trace),
) -> Result<Decision, Denial> {
    let client = client(conn, to);
    if let Some(gateway) = &target.waypoint {
        trace.push(Fact::NamesWaypoint {
            waypoint: gateway.clone(),
            weighted: false,
        });
        if waypoint::contains(snapshot, gateway, &conn.source) {
            trace.push(Fact::SourceIsWaypoint);
        } else {
            let found = waypoint::resolve(snapshot, gateway, &client, (rng, trace))?;
            return Ok(Decision::Dial(through(found, to, None)));
        }
    }
    Ok(Decision::Dial(direct(target, to, None)))
}

/// The address of a workload that has only a name. `Ok(Err(_))`: it has to be resolved first.
fn by_name(
    conn: &CapturedConn,
    workload: &Workload,
    dialled: IpAddr,
    trace: &mut Trace,
) -> Result<Result<IpAddr, ResourceName>, Denial> {
    let missing = || Denial::NoAddress {
        workload: workload.uid.clone(),
    };
    if workload.hostname.is_empty() {
        return Err(missing());
    }
    let Some(answers) = conn.resolved.get(&workload.hostname) else {
        return Ok(Err(ResourceName::Hostname(workload.hostname.clone())));
    };
    let same_family = answers.iter().find(|ip| ip.is_ipv4() == dialled.is_ipv4());
    let ip = *same_family.or(answers.first()).ok_or_else(missing)?;
    trace.push(Fact::ResolvedTo(ip));
    Ok(Ok(ip))
}

fn through(found: waypoint::Instance, to: SocketAddr, service: Option<Arc<Service>>) -> Upstream {
    Upstream {
        address: found.address,
        protocol: Protocol::Hbone {
            expected: found.expected,
            authority: to.to_string(),
        },
        workload: found.workload,
        service_port: service.as_ref().map(|_| to.port()),
        service,
        via: Via::Waypoint,
    }
}

fn direct(
    workload: Arc<Workload>,
    target: SocketAddr,
    service: Option<(Arc<Service>, u16)>,
) -> Upstream {
    let (service, service_port) = service.unzip();
    let (address, protocol) = match workload.tunnel {
        TunnelProtocol::None => (target, Protocol::Tcp),
        TunnelProtocol::Hbone => {
            let sans = service
                .as_ref()
                .map_or_else(Vec::new, |s| s.subject_alt_names.clone());
            let expected = expected(sans, &workload);
            let address = SocketAddr::new(target.ip(), ports::HBONE);
            (
                address,
                Protocol::Hbone {
                    expected,
                    authority: target.to_string(),
                },
            )
        }
    };
    Upstream {
        address,
        protocol,
        workload,
        service,
        service_port,
        via: Via::Direct,
    }
}

/// The workload's own identity and those its service vouches for.
pub(super) fn expected(mut sans: Vec<SpiffeId>, workload: &Workload) -> Vec<SpiffeId> {
    if !sans.contains(&workload.identity) {
        sans.push(workload.identity.clone());
    }
    sans
}

#[cfg(test)]
mod tests;
