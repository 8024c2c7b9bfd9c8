//! `/explain`: what would happen to a connection, by the very functions that decide real ones.
//! In: a pod of this node and what it would dial. Out: the decision and every fact consulted, first on
//! the source's side, then on the destination's. No connection is made.

use crate::dns::lookup::{Asker, Family, lookup};
use ambit_model::Snapshot;
use ambit_model::workload::{TunnelProtocol, Workload};
use ambit_routing::connection::inbound::{self, Arrival, ArrivedConn, Authority, InboundDecision};
use ambit_routing::connection::outbound::{self, CapturedConn, Decision, Protocol, Upstream, Via};
use ambit_routing::connection::trace::Trace;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;

/// The answer, as JSON.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// One line: what happens.
    pub decision: String,
    /// Node of the pod that dials: its proxy is the one that decides.
    pub node: Arc<str>,
    /// Whether the connection would be refused, by either end.
    pub refused: bool,
    /// Facts in the order they were consulted.
    pub trace: Vec<String>,
    /// The waypoint that decides what happens next, if one is dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<Onward>,
}

/// A waypoint and what it is asked for.
#[derive(Debug, Serialize)]
pub struct Onward {
    /// Namespace of its pod.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// `:authority` of the CONNECT: what the application dialled.
    pub authority: String,
    /// Identity under which it is asked.
    pub identity: String,
    /// Address of the client.
    pub client: Option<IpAddr>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Namespace of the pod that dials.
    pub namespace: &'a str,
    /// Its name.
    pub pod: &'a str,
    /// `host:port`; the host is an address or a name as the pod would resolve it.
    pub to: &'a str,
    /// Cluster domain.
    pub domain: &'a str,
}

/// Why there is no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExplainError {
    /// The mesh has no such pod.
    #[error("no workload {namespace}/{pod} is known")]
    UnknownPod {
        /// Namespace.
        namespace: String,
        /// Name.
        pod: String,
    },
    /// Not `host:port`.
    #[error("`{to}` is not host:port")]
    BadTarget {
        /// What was given.
        to: String,
    },
    /// A name the mesh does not know; its address decides.
    #[error("`{host}` is no service of the mesh; give its address")]
    UnknownName {
        /// What was given.
        host: String,
    },
}

/// Decides without connecting.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(snapshot: &Snapshot, question: &Question<'_>) -> Result<Explanation, ExplainError> {
    let source = snapshot
        .workload_named(question.namespace, question.pod)
        .ok_or_else(|| ExplainError::UnknownPod {
            namespace: question.namespace.to_owned(),
            pod: question.pod.to_owned(),
        })?;
    let original_dst = resolve(snapshot, source, question)?;
    let conn = CapturedConn::new(source.clone(), source.network.clone(), original_dst);
    let decided = outbound::decide(snapshot, &conn, &mut rand::rng());
    let mut trace = lines(&decided.trace);
    let answer = |decision: String, refused, trace| Explanation {
        decision,
        node: source.node.clone(),
        refused,
        trace,
        waypoint: None,
    };
    Ok(match decided.decision {
        Decision::PassThrough { to, .. } => {
            answer(format!("plain TCP to {to}, outside the mesh"), false, trace)
        }
        Decision::Deny(denial) => answer(format!("refused: {denial}"), true, trace),
        Decision::Need(name) => answer(format!("first resolves {name:?}"), false, trace),
        Decision::Dial(upstream)
            if source.tunnel == TunnelProtocol::None && upstream.via == Via::Waypoint =>
        {
            trace.push(format!(
                "{}/{} is not captured: it dials by itself, past the waypoint",
                source.namespace, source.name
            ));
            let decision = format!("plain TCP to {original_dst}, past the waypoint");
            answer(decision, false, trace)
        }
        Decision::Dial(mut upstream) => {
            if source.tunnel == TunnelProtocol::None {
                bypass(source, &mut upstream, &mut trace);
            }
            let route = describe(&upstream);
            match arrive(snapshot, source, &upstream, &mut trace) {
                Some(refusal) => answer(format!("{route}; refused there: {refusal}"), true, trace),
                None => Explanation {
                    waypoint: onward(source, &upstream),
                    ..answer(route, false, trace)
                },
            }
        }
    })
}

/// A pod outside the mesh has no proxy: it dials the endpoint itself, in plaintext.
fn bypass(source: &Workload, upstream: &mut Upstream, trace: &mut Vec<String>) {
    trace.push(format!(
        "{}/{} is not captured: it dials by itself, without identity",
        source.namespace, source.name
    ));
    if let Protocol::Hbone { authority, .. } = &upstream.protocol
        && upstream.via == Via::Direct
        && let Ok(address) = authority.parse()
    {
        upstream.address = address;
    }
    upstream.protocol = Protocol::Tcp;
    upstream.via = Via::Direct;
}

fn lines(trace: &Trace) -> Vec<String> {
    trace.0.iter().map(ToString::to_string).collect()
}

fn resolve(
    snapshot: &Snapshot,
    source: &Workload,
    question: &Question<'_>,
) -> Result<SocketAddr, ExplainError> {
    let to = question.to;
    let bad = || ExplainError::BadTarget { to: to.to_owned() };
    if let Ok(address) = to.parse() {
        return Ok(address);
    }
    let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let asker = Asker {
        workload: source,
        domain: question.domain,
        ipv6: true,
    };
    let found = |family| {
        lookup(snapshot, &asker, host, family)?
            .addresses
            .into_iter()
            .next()
    };
    // A pod that has only IPv6 addresses dials those.
    let six_only = !source.addresses.is_empty() && source.addresses.iter().all(IpAddr::is_ipv6);
    let order = if six_only {
        [Family::V6, Family::V4]
    } else {
        [Family::V4, Family::V6]
    };
    let ip: Option<IpAddr> = order.into_iter().find_map(found);
    let ip = ip.ok_or_else(|| ExplainError::UnknownName {
        host: host.to_owned(),
    })?;
    Ok(SocketAddr::new(ip, port))
}

fn describe(upstream: &Upstream) -> String {
    let Upstream {
        address, workload, ..
    } = upstream;
    let who = format!("{}/{} at {address}", workload.namespace, workload.name);
    match (&upstream.protocol, upstream.via) {
        (Protocol::Tcp, _) => format!("plain TCP to {who}"),
        (Protocol::Hbone { authority, .. }, Via::Direct) => {
            format!("mutual TLS to {who}, for {authority}")
        }
        (Protocol::Hbone { authority, .. }, Via::Waypoint) => {
            format!("mutual TLS to the waypoint {who}, for {authority}, which routes onward")
        }
    }
}

/// Whom to ask next.
fn onward(source: &Workload, upstream: &Upstream) -> Option<Onward> {
    let Protocol::Hbone { authority, .. } = &upstream.protocol else {
        return None;
    };
    (upstream.via == Via::Waypoint).then(|| Onward {
        namespace: upstream.workload.namespace.to_string(),
        pod: upstream.workload.name.to_string(),
        authority: authority.clone(),
        identity: source.identity.to_string(),
        client: source.addresses.first().copied(),
    })
}

/// What the destination's proxy would say; a waypoint decides per request and is not asked.
fn arrive(
    snapshot: &Snapshot,
    source: &Workload,
    upstream: &Upstream,
    trace: &mut Vec<String>,
) -> Option<String> {
    if upstream.via == Via::Waypoint {
        return None;
    }
    let same_family = |ip: &&IpAddr| ip.is_ipv4() == upstream.address.is_ipv4();
    let mut own = source.addresses.iter();
    let client = own
        .find(same_family)
        .or(source.addresses.first())
        .copied()?;
    let (local, arrival) = match &upstream.protocol {
        Protocol::Tcp => (upstream.address, Arrival::Plaintext),
        Protocol::Hbone { authority, .. } => {
            let identity = source.identity.clone();
            let authority = Authority::Address(authority.parse().ok()?);
            (
                upstream.address,
                Arrival::Hbone {
                    identity,
                    authority,
                },
            )
        }
    };
    let conn = ArrivedConn {
        destination: Arc::clone(&upstream.workload),
        source: SocketAddr::new(client, 0),
        local,
        arrival,
    };
    let decided = inbound::decide(snapshot, &conn);
    let there = format!(
        "at {}/{}",
        upstream.workload.namespace, upstream.workload.name
    );
    trace.extend(
        lines(&decided.trace)
            .into_iter()
            .map(|fact| format!("{there}: {fact}")),
    );
    match decided.decision {
        InboundDecision::Connect(_) => None,
        InboundDecision::Refuse(refusal) => Some(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests;
