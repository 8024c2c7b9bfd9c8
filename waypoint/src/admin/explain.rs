//! `/explain`: what would happen to a request, by the very functions that decide real ones.
//! In: what a node proxy would ask for and what the client would say. Out: route, cluster and
//! endpoint, and every fact consulted, in order. Nothing is sent.

mod words;

#[cfg(test)]
mod tests;

use crate::destination;
use crate::downstream::Addressed;
use crate::me::Me;
use crate::message::line::Line;
use crate::outcome::Failure;
use crate::state::View;
use crate::upstream::endpoints::{self, Member, Wish};
use ambit_hbone::wire::Authority;
use ambit_model::ids::ClusterName;
use ambit_model::route::{Action, Protocol, Router, WeightedCluster};
use ambit_policy::l4::ConnectionFacts;
use ambit_policy::l7::{self, RequestFacts, Spoken, Verdict};
use ambit_routing::http::balance::{Candidate, Turn, pick};
use ambit_routing::http::matching::{Matched, find};
use ambit_routing::http::select;
use http::request::Parts;
use rand::Rng;
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use thiserror::Error;
use words::{describe, effects, matches, source, spoken};

/// The answer, as JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Explanation {
    /// One line: what happens.
    pub(super) decision: String,
    /// Whether the request would be answered by the waypoint with an error.
    pub(super) refused: bool,
    /// The route taken; empty for bytes.
    pub(super) route: String,
    /// The cluster chosen.
    pub(super) cluster: String,
    /// The endpoint chosen, with its port.
    pub(super) endpoint: String,
    /// Facts in the order they were consulted.
    pub(super) trace: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ExplainError {
    /// Not what a CONNECT may ask for.
    #[error("`{0}` is not ip:port or name:port")]
    Authority(String),
    /// Neither a SPIFFE id nor an address.
    #[error("`{0}` names no client")]
    Client(String),
    /// No request line.
    #[error("`{0}` is no request")]
    Request(String),
}

impl Explanation {
    fn refuse(mut self, how: &Failure) -> Self {
        let said = how.said(false);
        self.decision = format!(
            "answered with {} here ({}, flags {})",
            said.status.as_u16(),
            said.details,
            said.flags
        );
        self.refused = true;
        self
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// `:authority` of the CONNECT.
    pub(super) to: &'a str,
    /// Who asks, as a SPIFFE id; empty: nobody in particular.
    pub(super) identity: &'a str,
    /// From where; empty: from nowhere in particular.
    pub(super) client: &'a str,
    /// Method.
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) path: &'a str,
    /// `name: value`.
    pub(super) headers: &'a [&'a str],
}

/// Decides without sending.
///
/// # Errors
/// [`ExplainError`].
pub(super) fn explain(
    (me, view): (&Me, &View),
    question: &Question<'_>,
    rng: &mut impl Rng,
) -> Result<Explanation, ExplainError> {
    let to = question.to;
    let authority: Authority = to
        .parse()
        .map_err(|_| ExplainError::Authority(to.to_owned()))?;
    let mut answer = Explanation::default();
    let Some(found) = destination::find(me, view, &authority) else {
        answer.trace.push(match view.is_complete() {
            true => format!("{to} is no service and no pod that this waypoint serves"),
            false => "configuration has not arrived yet".to_owned(),
        });
        answer.decision = "the stream is refused with 503".to_owned();
        answer.refused = true;
        return Ok(answer);
    };
    answer.trace.push(format!(
        "{to} is {}, port {} speaks {}",
        match &found.addressed {
            Addressed::Service(service) => format!("service {}", service.key),
            other => other.to_string(),
        },
        found.local.port(),
        spoken(found.protocol)
    ));
    let Some(router) = found
        .addressed
        .router(view, (found.local.port(), &authority.to_string()))
    else {
        return Ok(answer.refuse(&Failure::NotConfigured));
    };
    let asks = asks(question, found.local)?;
    let known = (view, &*router, &asks);
    if found.protocol == Protocol::Tcp {
        if let Some(refused) = policy(&mut answer, known, Spoken::Bytes { sni: None }) {
            return Ok(answer.refuse(&refused));
        }
        let Some(route) = router.tcp.first() else {
            return Ok(answer.refuse(&Failure::NoRoute));
        };
        let from = source(&route.source);
        answer.trace.push(format!("TCP route{from}"));
        return Ok(forwarded((me, view), answer, &route.clusters, rng));
    }
    let parts = request(question, &authority)?;
    Ok(http((me, known), answer, &parts, rng))
}

/// Who asks, for policies.
fn asks(question: &Question<'_>, local: SocketAddr) -> Result<ConnectionFacts, ExplainError> {
    let bad = |text: &str| ExplainError::Client(text.to_owned());
    let identity = Some(question.identity).filter(|text| !text.is_empty());
    let client = Some(question.client).filter(|text| !text.is_empty());
    Ok(ConnectionFacts {
        source_ip: match client {
            Some(text) => text.parse().map_err(|_| bad(text))?,
            None => Ipv4Addr::UNSPECIFIED.into(),
        },
        source_identity: match identity {
            Some(text) => Some(text.parse().map_err(|_| bad(text))?),
            None => None,
        },
        destination_ip: local.ip(),
        destination_port: local.port(),
    })
}

/// What policies say; `Some`: how they refuse.
fn policy(
    answer: &mut Explanation,
    (view, router, asks): (&View, &Router, &ConnectionFacts),
    spoken: Spoken<'_>,
) -> Option<Failure> {
    let Some(gateway) = view.gateway() else {
        let fact = "the policies of this gateway have not arrived";
        answer.trace.push(fact.to_owned());
        return Some(Failure::NotConfigured);
    };
    let policies = gateway.policies.iter().chain(&router.policies);
    let (fact, failure) = match l7::evaluate(policies, asks, spoken).verdict {
        Verdict::Allowed { by: None } => ("no policy stands against it".to_owned(), None),
        Verdict::Allowed { by: Some(rule) } => (
            format!("allowed by policy {}, rule {}", rule.policy, rule.rule),
            None,
        ),
        Verdict::Denied(denial) => (denial.to_string(), Some(Failure::Denied)),
    };
    answer.trace.push(fact);
    failure
}

fn request(question: &Question<'_>, authority: &Authority) -> Result<Parts, ExplainError> {
    let Question {
        method,
        path,
        headers,
        ..
    } = *question;
    let mut request = http::Request::builder().method(method).uri(path);
    for header in headers {
        let bad = || ExplainError::Request((*header).to_owned());
        let (name, value) = header.split_once(':').ok_or_else(bad)?;
        request = request.header(name.trim(), value.trim());
    }
    let named = headers.iter().any(|h| {
        h.split(':')
            .next()
            .is_some_and(|n| n.trim().eq_ignore_ascii_case("host"))
    });
    if !named {
        request = request.header(http::header::HOST, authority.to_string());
    }
    let request = request
        .body(())
        .map_err(|_| ExplainError::Request(format!("{method} {path}")))?;
    Ok(request.into_parts().0)
}

fn http(
    (me, known): (&Me, (&View, &Router, &ConnectionFacts)),
    mut answer: Explanation,
    parts: &Parts,
    rng: &mut impl Rng,
) -> Explanation {
    let (view, router, _) = known;
    let line = match Line::of(parts) {
        Ok(line) => line,
        Err(malformed) => return answer.refuse(&Failure::Malformed(malformed)),
    };
    let received = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    if received != line.target.as_str() {
        let fact = format!("{received} is normalised to {}", line.target);
        answer.trace.push(fact);
    }
    let facts = RequestFacts {
        method: line.method.as_str(),
        authority: &line.authority,
        path: line.target.path(),
        headers: &parts.headers,
    };
    if let Some(refused) = policy(&mut answer, known, Spoken::Request(facts)) {
        return answer.refuse(&refused);
    }
    if !router.takes(&line.authority) {
        let fact = format!("{} is not below the wildcard addressed", line.authority);
        answer.trace.push(fact);
        return answer.refuse(&Failure::NoRoute);
    }
    let matched = find(router, &line.view(&parts.headers));
    let passed = matched.map_or(router.http.len(), |m| m.index);
    for (index, route) in router.http[..passed].iter().enumerate() {
        let fact = format!("{} does not match", describe(index, route));
        answer.trace.push(fact);
    }
    let Some(Matched { route, index, .. }) = matched else {
        return answer.refuse(&Failure::NoRoute);
    };
    answer.route = describe(index, route);
    let fact = format!(
        "{} {} takes {} {}",
        answer.route,
        matches(route),
        line.method,
        line.target
    );
    answer.trace.push(fact);
    answer.trace.extend(effects(route));
    match &route.action {
        Action::Redirect(to) => {
            answer.decision = format!("redirected with {} here", to.status.as_u16());
            answer
        }
        Action::DirectResponse(fixed) => {
            answer.decision = format!("answered with {} by the route", fixed.status.as_u16());
            answer
        }
        Action::Forward(clusters) => forwarded((me, view), answer, clusters, rng),
    }
}

/// From destinations to one of them, and on.
fn forwarded(
    (me, view): (&Me, &View),
    mut answer: Explanation,
    clusters: &[WeightedCluster],
    rng: &mut impl Rng,
) -> Explanation {
    let total: u64 = clusters.iter().map(|c| u64::from(c.weight)).sum();
    for cluster in clusters {
        let fact = format!("{} of {total} go to {}", cluster.weight, cluster.cluster);
        answer.trace.push(fact);
    }
    let Some(chosen) = select::weighted(clusters, rng) else {
        return answer.refuse(&Failure::NoDestination);
    };
    answer.cluster = chosen.cluster.to_string();
    if clusters.len() > 1 {
        let fact = format!("this time by weight: {}", chosen.cluster);
        answer.trace.push(fact);
    }
    endpoint((me, view), answer, &chosen.cluster, rng)
}

/// From a cluster to one endpoint.
fn endpoint(
    (me, view): (&Me, &View),
    mut answer: Explanation,
    name: &ClusterName,
    rng: &mut impl Rng,
) -> Explanation {
    let (cluster, members) = match endpoints::members((me, view), name, Wish::default()) {
        Ok(found) => found,
        Err(failure) => return answer.refuse(&failure),
    };
    if let Some(port) = cluster.by_host {
        answer.endpoint = format!("an address of the request's Host, port {port}");
        answer.decision = format!("forwarded to {}, of {}", answer.endpoint, answer.cluster);
        return answer;
    }
    let mut usable = Vec::new();
    for member in members {
        match member {
            Member::Usable {
                workload,
                address,
                also: _,
                weight,
            } => {
                let how = match endpoints::is_tunnelled(&workload) {
                    true => "by HBONE",
                    false => "in plaintext",
                };
                let fact = format!("{} at {address} can take it, {how}", workload.uid);
                answer.trace.push(fact);
                usable.push((workload, address, weight));
            }
            Member::Unusable { uid, why } => {
                answer.trace.push(format!("{uid} takes nothing: {why}"))
            }
        }
    }
    let candidate = |weight| Candidate {
        weight,
        active: 0,
        tried: false,
    };
    let candidates: Vec<_> = usable
        .iter()
        .map(|(.., weight)| candidate(*weight))
        .collect();
    let mut turn = Turn::starting_anywhere(rng);
    let Some(index) = pick(cluster.load_balancer, &candidates, &mut turn, rng) else {
        return answer.refuse(&Failure::NoHealthyUpstream);
    };
    let (workload, address, _) = &usable[index];
    if usable.len() > 1 {
        let fact = format!(
            "{:?} picks this time: {}",
            cluster.load_balancer, workload.uid
        );
        answer.trace.push(fact);
    }
    answer.endpoint = format!("{}/{} at {address}", workload.namespace, workload.name);
    answer.decision = format!("forwarded to {}, of {}", answer.endpoint, answer.cluster);
    answer
}
