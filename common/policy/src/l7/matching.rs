//! Whether a policy matches a request or a connection.
//! Rules are ORed, clauses ANDed, matches of a clause ORed, tests of a match ANDed, values ORed.
//! Where a header can be read in two ways, because it was sent twice, the one that refuses is taken.
//! A value without a port is compared with the host alone, too: `shop` also speaks of `shop:80`.

use super::{Miss, RequestFacts, Spoken};
use crate::l4::ConnectionFacts;
use ambit_model::authorization::{PolicyAction, ServiceAccountMatch, StringMatch};
use ambit_model::ids::SpiffeId;
use ambit_model::route::{
    AccessClause, AccessMatch, AccessPolicy, AccessTest, PathPattern, Wanted,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

/// The facts; what costs an allocation is made once, and only if some policy asks for it.
pub(super) struct Facts<'a> {
    connection: &'a ConnectionFacts,
    spoken: Spoken<'a>,
    source_ip: IpAddr,
    destination_ip: IpAddr,
    principal: OnceCell<Option<String>>,
}

/// What a policy says.
pub(super) enum Outcome {
    /// This rule matched: its index in `spec.rules`.
    Matched(usize),
    /// None did; the rule that got furthest, if there are rules.
    Missed(Option<Miss>),
}

impl Outcome {
    pub(super) fn matched(&self) -> Option<usize> {
        match self {
            Self::Matched(rule) => Some(*rule),
            Self::Missed(_) => None,
        }
    }
}

/// Whether one of the values matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hit {
    Yes,
    No,
    /// Read one way it does, read another it does not.
    Either,
    /// There is nothing to compare: HTTP is asked of a connection of bytes.
    Unknown,
}

pub(super) fn policy(policy: &AccessPolicy, facts: &Facts<'_>) -> Outcome {
    let deny = policy.action == PolicyAction::Deny;
    let mut nearest: Option<(usize, usize, &AccessTest)> = None;
    for rule in &policy.rules {
        let failed = rule
            .clauses
            .iter()
            .enumerate()
            .find_map(|(clause, c)| Some((rule.index, clause, missed(c, facts, deny)?)));
        let Some(failed) = failed else {
            return Outcome::Matched(rule.index);
        };
        if nearest.is_none_or(|(_, clause, _)| failed.1 > clause) {
            nearest = Some(failed);
        }
    }
    Outcome::Missed(nearest.map(|(rule, clause, test)| Miss {
        rule,
        clause,
        attribute: test.wanted.to_string(),
    }))
}

/// `None`: the clause matches. Else the test its first match failed on.
fn missed<'p>(clause: &'p AccessClause, facts: &Facts<'_>, deny: bool) -> Option<&'p AccessTest> {
    let failing = |m: &'p AccessMatch| m.tests.iter().find(|test| !facts.holds(test, deny));
    let mut first = None;
    for m in &clause.matches {
        first = first.or(Some(failing(m)?));
    }
    first
}

impl<'a> Facts<'a> {
    pub(super) fn new(connection: &'a ConnectionFacts, spoken: Spoken<'a>) -> Self {
        Self {
            connection,
            spoken,
            source_ip: connection.source_ip.to_canonical(),
            destination_ip: connection.destination_ip.to_canonical(),
            principal: OnceCell::new(),
        }
    }

    fn holds(&self, test: &AccessTest, deny: bool) -> bool {
        match self.hit(&test.wanted) {
            Hit::Yes => !test.negated,
            Hit::No => test.negated,
            Hit::Either | Hit::Unknown => deny,
        }
    }

    fn hit(&self, wanted: &Wanted) -> Hit {
        let peer = self.connection.source_identity.as_ref();
        match wanted {
            Wanted::Principal(values) => self.principal_hit(values),
            Wanted::Namespace(values) => text(values, peer.map(SpiffeId::namespace)),
            Wanted::TrustDomain(values) => text(values, peer.map(SpiffeId::trust_domain)),
            Wanted::ServiceAccount(values) => {
                let is = |id: &SpiffeId| values.iter().any(|v| account(v, id));
                certain(peer.is_some_and(is))
            }
            Wanted::SourceIp(blocks) => certain(blocks.iter().any(|b| b.contains(&self.source_ip))),
            Wanted::DestinationIp(blocks) => {
                certain(blocks.iter().any(|b| b.contains(&self.destination_ip)))
            }
            Wanted::DestinationPort(ports) => {
                certain(ports.contains(&self.connection.destination_port))
            }
            Wanted::Host(values) => self.of_request(|r| host(values, r.authority)),
            Wanted::Method(values) => self.of_request(|r| text(values, Some(r.method))),
            Wanted::Path(patterns) => {
                self.of_request(|r| certain(patterns.iter().any(|p| path(p, r.path))))
            }
            Wanted::Header(name, values) => self.of_request(|r| header(values, name, r.headers)),
            Wanted::Sni(values) => match self.spoken {
                Spoken::Bytes { sni } => text(values, sni),
                Spoken::Request(_) => Hit::No,
            },
        }
    }

    fn of_request(&self, hit: impl FnOnce(&RequestFacts<'_>) -> Hit) -> Hit {
        match &self.spoken {
            Spoken::Request(request) => hit(request),
            Spoken::Bytes { .. } => Hit::Unknown,
        }
    }

    fn principal_hit(&self, values: &[StringMatch]) -> Hit {
        let build = || {
            let peer = self.connection.source_identity.as_ref();
            peer.map(SpiffeId::principal)
        };
        let given = self.principal.get_or_init(build).as_deref();
        let hit = |given: &str| values.iter().any(|v| principal(v, given));
        certain(given.is_some_and(hit))
    }
}

fn certain(hit: bool) -> Hit {
    if hit { Hit::Yes } else { Hit::No }
}

fn text(values: &[StringMatch], given: Option<&str>) -> Hit {
    certain(given.is_some_and(|given| any(values, given)))
}

fn any(values: &[StringMatch], given: &str) -> bool {
    values.iter().any(|v| v.matches(given))
}

/// Principals are compared without their scheme, on both sides.
fn principal(wanted: &StringMatch, given: &str) -> bool {
    match wanted {
        StringMatch::Exact(w) => without_scheme(w) == given,
        StringMatch::Prefix(w) => given.starts_with(without_scheme(w)),
        StringMatch::Suffix(_) | StringMatch::Presence => wanted.matches(given),
    }
}

fn without_scheme(text: &str) -> &str {
    text.strip_prefix("spiffe://").unwrap_or(text)
}

fn account(wanted: &ServiceAccountMatch, id: &SpiffeId) -> bool {
    wanted.namespace == id.namespace() && wanted.service_account == id.service_account()
}

/// Without regard to case. A value that names no port is compared with the host alone.
fn host(values: &[StringMatch], authority: &str) -> Hit {
    let authority = if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    };
    let bare = without_port(&authority);
    certain(any(values, &authority) || any(values, bare))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn path(pattern: &PathPattern, given: &str) -> bool {
    match pattern {
        PathPattern::Text(text) => text.matches(given),
        PathPattern::Template(template) => template.matches(given),
    }
}

/// Sent several times, a header is one list to some readers and its first or last value to others.
fn header(values: &[StringMatch], name: &HeaderName, headers: &HeaderMap) -> Hit {
    let mut given = headers.get_all(name).iter();
    let lossy = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let Some(first) = given.next() else {
        return Hit::No;
    };
    let hit = any(values, &String::from_utf8_lossy(first.as_bytes()));
    let mut joined: Option<String> = None;
    let mut either = false;
    for value in given {
        let value = lossy(value);
        either |= any(values, &value) != hit;
        let all = joined.get_or_insert_with(|| lossy(first));
        all.push(',');
        all.push_str(&value);
    }
    if let Some(joined) = joined {
        either |= any(values, &joined) != hit;
    }
    if either { Hit::Either } else { certain(hit) }
}
