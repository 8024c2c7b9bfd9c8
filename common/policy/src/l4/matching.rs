//! Whether a policy matches a connection.
//! Rules are ORed, clauses ANDed, matches of a clause ORed, fields of a match ANDed, values ORed,
//! `not_x`: none may match. A policy without rules never matches, a clause without matches always does,
//! an empty match never does.
//! A peer without identity fails every positive principal, namespace and service account match and
//! satisfies every negative one.

use super::{ConnectionFacts, Miss};
use ambit_model::authorization::{Authorization, Clause, Match, ServiceAccountMatch, StringMatch};
use ipnet::IpNet;
use serde::Serialize;
use std::cell::OnceCell;
use std::fmt;
use std::net::IpAddr;

/// A field of a match, as the proto names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the names are those of the proto, which documents them"
)]
pub enum Field {
    Namespaces,
    NotNamespaces,
    Principals,
    NotPrincipals,
    SourceIps,
    NotSourceIps,
    DestinationIps,
    NotDestinationIps,
    DestinationPorts,
    NotDestinationPorts,
    ServiceAccounts,
    NotServiceAccounts,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::NotNamespaces => "notNamespaces",
            Self::Principals => "principals",
            Self::NotPrincipals => "notPrincipals",
            Self::SourceIps => "ipBlocks",
            Self::NotSourceIps => "notIpBlocks",
            Self::DestinationIps => "destination.ip",
            Self::NotDestinationIps => "not destination.ip",
            Self::DestinationPorts => "ports",
            Self::NotDestinationPorts => "notPorts",
            Self::ServiceAccounts => "serviceAccounts",
            Self::NotServiceAccounts => "notServiceAccounts",
        })
    }
}

/// The facts, with the principal built once and only if some policy asks for it.
pub(super) struct Peer<'a> {
    facts: &'a ConnectionFacts,
    source_ip: IpAddr,
    destination_ip: IpAddr,
    principal: OnceCell<Option<String>>,
}

impl<'a> Peer<'a> {
    pub(super) fn new(facts: &'a ConnectionFacts) -> Self {
        Self {
            facts,
            source_ip: facts.source_ip.to_canonical(),
            destination_ip: facts.destination_ip.to_canonical(),
            principal: OnceCell::new(),
        }
    }

    fn principal(&self) -> Option<&str> {
        let build = || self.facts.source_identity.as_ref().map(|id| id.principal());
        self.principal.get_or_init(build).as_deref()
    }

    fn namespace(&self) -> Option<&str> {
        self.facts.source_identity.as_ref().map(|id| id.namespace())
    }
}

/// What a policy says of a connection.
pub(super) enum Outcome {
    /// This rule matched.
    Matched(usize),
    /// None did; the rule that got furthest, if there are rules.
    Missed(Option<Miss>),
}

pub(super) fn policy(policy: &Authorization, peer: &Peer<'_>) -> Outcome {
    let mut nearest: Option<Miss> = None;
    for (rule, r) in policy.rules.iter().enumerate() {
        let failed = r.clauses.iter().enumerate().find_map(|(clause, c)| {
            let field = missed(c, peer)?;
            Some(Miss {
                rule,
                clause,
                field,
            })
        });
        let Some(miss) = failed else {
            return Outcome::Matched(rule);
        };
        if nearest.is_none_or(|n| miss.clause > n.clause) {
            nearest = Some(miss);
        }
    }
    Outcome::Missed(nearest)
}

/// `None`: the clause matches. Else the field its first match that says anything failed on.
fn missed(clause: &Clause, peer: &Peer<'_>) -> Option<Option<Field>> {
    if clause.matches.is_empty() {
        return None;
    }
    let mut first = None;
    for m in clause.matches.iter().filter(|m| !is_empty(m)) {
        match failing_field(m, peer) {
            None => return None,
            failed => first = first.or(failed),
        }
    }
    Some(first)
}

fn is_empty(m: &Match) -> bool {
    m == &Match::default()
}

fn failing_field(m: &Match, peer: &Peer<'_>) -> Option<Field> {
    let principal = |values: &[StringMatch]| any_string(values, peer.principal());
    let namespace = |values: &[StringMatch]| any_string(values, peer.namespace());
    let source = |values: &[IpNet]| values.iter().any(|n| n.contains(&peer.source_ip));
    let target = |values: &[IpNet]| values.iter().any(|n| n.contains(&peer.destination_ip));
    let port = |values: &[u16]| values.contains(&peer.facts.destination_port);
    let account = |values: &[ServiceAccountMatch]| any_account(values, peer.facts);
    // The principal is compared last: it is the only one that costs an allocation.
    None.or(wanted(&m.source_ips, source, Field::SourceIps))
        .or(unwanted(&m.not_source_ips, source, Field::NotSourceIps))
        .or(wanted(&m.destination_ips, target, Field::DestinationIps))
        .or(unwanted(
            &m.not_destination_ips,
            target,
            Field::NotDestinationIps,
        ))
        .or(wanted(&m.destination_ports, port, Field::DestinationPorts))
        .or(unwanted(
            &m.not_destination_ports,
            port,
            Field::NotDestinationPorts,
        ))
        .or(wanted(&m.namespaces, namespace, Field::Namespaces))
        .or(unwanted(&m.not_namespaces, namespace, Field::NotNamespaces))
        .or(wanted(&m.service_accounts, account, Field::ServiceAccounts))
        .or(unwanted(
            &m.not_service_accounts,
            account,
            Field::NotServiceAccounts,
        ))
        .or_else(|| wanted(&m.principals, principal, Field::Principals))
        .or_else(|| unwanted(&m.not_principals, principal, Field::NotPrincipals))
}

fn wanted<T>(values: &[T], any: impl FnOnce(&[T]) -> bool, field: Field) -> Option<Field> {
    (!values.is_empty() && !any(values)).then_some(field)
}

fn unwanted<T>(values: &[T], any: impl FnOnce(&[T]) -> bool, field: Field) -> Option<Field> {
    (!values.is_empty() && any(values)).then_some(field)
}

fn any_string(values: &[StringMatch], given: Option<&str>) -> bool {
    given.is_some_and(|given| values.iter().any(|v| string(v, given)))
}

fn string(wanted: &StringMatch, given: &str) -> bool {
    match wanted {
        StringMatch::Exact(w) => without_scheme(w) == given,
        StringMatch::Prefix(w) => given.starts_with(without_scheme(w)),
        StringMatch::Suffix(w) => given.ends_with(w.as_str()),
        StringMatch::Presence => !given.is_empty(),
    }
}

/// Principals are compared without their scheme, on both sides.
fn without_scheme(value: &str) -> &str {
    value.strip_prefix("spiffe://").unwrap_or(value)
}

fn any_account(values: &[ServiceAccountMatch], facts: &ConnectionFacts) -> bool {
    facts.source_identity.as_ref().is_some_and(|id| {
        values
            .iter()
            .any(|v| v.namespace == id.namespace() && v.service_account == id.service_account())
    })
}
