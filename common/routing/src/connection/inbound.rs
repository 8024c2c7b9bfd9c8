//! Admission of a connection into an enrolled pod, and where its application is dialled.
//! In: the snapshot, the pod's own workload, who arrived and how. Out: `Decided`.
//! Plaintext and HBONE get the same policies; plaintext has no identity.
//! Fails closed: an authority that is not ours, a reserved port, an unknown name or policy.
//! Spec: Istio's node proxy (inbound); ARCHITECTURE.md "One connection".

use super::endpoint::{self, Purpose};
use super::trace::{Fact, Trace};
use super::{is_reserved, waypoint};
use ambit_model::address::NetworkAddress;
use ambit_model::ids::SpiffeId;
use ambit_model::service::Service;
use ambit_model::snapshot::{Found, Snapshot};
use ambit_model::workload::Workload;
use ambit_policy::l4::{self, ConnectionFacts, Denial, DryRun, RuleRef, Verdict};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;

/// One connection, or CONNECT stream, that asks to enter.
#[derive(Clone, Debug)]
pub struct ArrivedConn {
    /// The pod's own workload: by namespace, name and service account, never by address.
    pub destination: Arc<Workload>,
    /// The client's address as TCP shows it.
    pub source: SocketAddr,
    /// Where the client connected to: the local address of the accepted socket.
    pub local: SocketAddr,
    /// How it came.
    pub arrival: Arrival,
}

/// How a connection came.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// Plain TCP; `ArrivedConn::local` is the destination.
    Plaintext,
    /// A CONNECT stream in mutual TLS.
    Hbone {
        /// From the peer's certificate.
        identity: SpiffeId,
        /// `:authority` of the CONNECT.
        authority: Authority,
    },
}

/// What a CONNECT names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// `ip:port`.
    Address(SocketAddr),
    /// `hostname:port`, a service.
    Name {
        /// Fully qualified.
        hostname: String,
        /// Service port.
        port: u16,
    },
}

/// A decision and the facts behind it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What to do.
    pub decision: InboundDecision,
    /// Why.
    pub trace: Trace,
    /// What policies on trial would have said.
    pub dry_run: Vec<DryRun>,
}

/// What to do with a connection that arrived.
#[derive(Clone, Debug)]
pub enum InboundDecision {
    /// Dial the application.
    Connect(Connect),
    /// Refuse it.
    Refuse(Refusal),
}

/// How the application is dialled.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The application's address.
    pub to: SocketAddr,
    /// Address to dial from, so that the application sees its client; `None`: our own, because the
    /// client has the application's address too.
    pub spoof: Option<IpAddr>,
    /// Begin with a PROXY protocol header (version 2).
    pub proxy_header: bool,
    /// The service a hostname authority named.
    pub service: Option<Arc<Service>>,
    /// The ALLOW rule that let it in; `None`: no ALLOW policy applies.
    pub allowed_by: Option<RuleRef>,
}

/// Why a connection may not enter.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
pub enum Refusal {
    /// The authority is neither this pod's nor that of anything it is a waypoint for.
    #[error("ip mismatch: {authority} != {local}")]
    NotOurs {
        /// Asked for.
        authority: IpAddr,
        /// Connected to.
        local: IpAddr,
    },
    /// The port is one of the proxy's own.
    #[error("attempted recursive call to ourselves: port {port} is reserved")]
    ReservedPort {
        /// The port.
        port: u16,
    },
    /// No service has that name.
    #[error("no service is known as {hostname}")]
    UnknownHostname {
        /// As asked for.
        hostname: String,
    },
    /// The service has no such port here.
    #[error("requested service {hostname}:{port} found, but cannot resolve port")]
    UnknownPort {
        /// As asked for.
        hostname: String,
        /// As asked for.
        port: u16,
    },
    /// A policy refuses it.
    #[error("{0}")]
    Policy(Denial),
}

impl Refusal {
    /// Status of the CONNECT reply; plaintext is closed.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotOurs { .. } => 400,
            Self::Policy(_) => 401,
            Self::ReservedPort { .. } | Self::UnknownHostname { .. } | Self::UnknownPort { .. } => {
                503
            }
        }
    }

    /// Value of `x-ambit-reason` on the CONNECT reply.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs { .. } => "not-ours",
            Self::Policy(_) => "deny",
            Self::ReservedPort { .. } => "reserved-port",
            Self::UnknownHostname { .. } | Self::UnknownPort { .. } => "unknown-destination",
        }
    }
}

/// Decides whether one connection may enter and where it goes. O(rules of the policies that apply).
pub fn decide(snapshot: &Snapshot, conn: &ArrivedConn) -> Decided {
    let mut trace = Trace::default();
    let mut dry_run = Vec::new();
    let decision = match decide_traced(snapshot, conn, &mut trace, &mut dry_run) {
        Ok(connect) => InboundDecision::Connect(connect),
        Err(refusal) => InboundDecision::Refuse(refusal),
    };
    Decided {
        decision,
        trace,
        dry_run,
    }
}

fn decide_traced(
    snapshot: &Snapshot,
    conn: &ArrivedConn,
    trace: &mut Trace,
    dry_run: &mut Vec<DryRun>,
) -> Result<Connect, Refusal> {
    let identity = match &conn.arrival {
        Arrival::Plaintext => None,
        Arrival::Hbone { identity, .. } => Some(identity.clone()),
    };
    trace.push(Fact::PeerIs(identity.clone()));
    let target = target(snapshot, conn, trace)?;
    if is_reserved(target.to.port()) {
        trace.push(Fact::Reserved(target.to.port()));
        return Err(Refusal::ReservedPort {
            port: target.to.port(),
        });
    }
    let source_ip = conn.source.ip().to_canonical();
    let facts = ConnectionFacts {
        source_ip,
        source_identity: identity,
        destination_ip: target.to.ip(),
        destination_port: target.to.port(),
    };
    let evaluation = l4::evaluate(snapshot, &conn.destination, &facts);
    for trial in &evaluation.dry_run {
        trace.push(Fact::OnTrial(trial.clone()));
    }
    *dry_run = evaluation.dry_run;
    let allowed_by = match evaluation.verdict {
        Verdict::Allowed { by } => by,
        Verdict::Denied(denial) => {
            trace.push(Fact::PolicyDenied(denial.clone()));
            return Err(Refusal::Policy(denial));
        }
    };
    trace.push(Fact::PolicyAllowed(allowed_by.clone()));
    Ok(Connect {
        spoof: (source_ip != target.to.ip()).then_some(source_ip),
        to: target.to,
        proxy_header: target.proxy_header,
        service: target.service,
        allowed_by,
    })
}

struct Target {
    to: SocketAddr,
    proxy_header: bool,
    service: Option<Arc<Service>>,
}

fn target(snapshot: &Snapshot, conn: &ArrivedConn, trace: &mut Trace) -> Result<Target, Refusal> {
    let ours = conn.local.ip().to_canonical();
    let Arrival::Hbone { authority, .. } = &conn.arrival else {
        let to = SocketAddr::new(ours, conn.local.port());
        return Ok(Target {
            to,
            proxy_header: false,
            service: None,
        });
    };
    let tunnel = conn.destination.application_tunnel;
    let (port, service) = match authority {
        Authority::Address(asked) => {
            let asked = SocketAddr::new(asked.ip().to_canonical(), asked.port());
            let accepted = asked.ip() == ours
                || tunnel.is_some()
                || is_our_customer(snapshot, &conn.destination, asked.ip());
            if !accepted {
                return Err(Refusal::NotOurs {
                    authority: asked.ip(),
                    local: ours,
                });
            }
            (asked.port(), None)
        }
        Authority::Name { hostname, port } => {
            let (port, service) = named(snapshot, &conn.destination, hostname, *port)?;
            trace.push(Fact::IsService(service.key.clone()));
            (port, Some(service))
        }
    };
    let proxy = tunnel.filter(|t| t.proxy_protocol);
    let port = match proxy {
        Some(t) if t.port != 0 => t.port,
        _ => port,
    };
    if proxy.is_some() {
        trace.push(Fact::ApplicationTunnel(port));
    }
    Ok(Target {
        to: SocketAddr::new(ours, port),
        proxy_header: proxy.is_some(),
        service,
    })
}

/// Whether whoever has this address names us as its waypoint.
fn is_our_customer(snapshot: &Snapshot, us: &Workload, ip: IpAddr) -> bool {
    let address = NetworkAddress::new(us.network.clone(), ip);
    let names_us = |gateway| waypoint::contains(snapshot, gateway, us);
    match snapshot.lookup(&address, &us.namespace) {
        Some(Found::Workload(w)) => w.waypoint.as_ref().is_some_and(names_us),
        Some(Found::Service(s)) => {
            s.waypoint.iter().any(names_us)
                || s.weighted_waypoints
                    .iter()
                    .map(|w| &w.destination)
                    .any(names_us)
        }
        None => false,
    }
}

fn named(
    snapshot: &Snapshot,
    us: &Workload,
    hostname: &str,
    port: u16,
) -> Result<(u16, Arc<Service>), Refusal> {
    let Some(service) = snapshot.service_by_hostname(hostname, &us.namespace) else {
        return Err(Refusal::UnknownHostname {
            hostname: hostname.to_owned(),
        });
    };
    let backs = us.services.contains_key(&service.key);
    let target = endpoint::target_port(us, service, port, Purpose::Application).filter(|_| backs);
    match target {
        Some(port) => Ok((port, service.clone())),
        None => Err(Refusal::UnknownPort {
            hostname: hostname.to_owned(),
            port,
        }),
    }
}

#[cfg(test)]
mod tests;
