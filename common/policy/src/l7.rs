//! Authorization at a waypoint: what the policies attached to it and to the addressed service say of
//! one request, or of one connection that carries bytes.
//! In: the policies, the facts. Out: `Evaluation`.
//! Order: any DENY match denies; no ALLOW policy allows; any ALLOW match allows; else denied.
//! `dry_run` policies are evaluated and reported, never enforced.
//! A test of HTTP on a connection of bytes cannot be made: it holds for DENY and fails for ALLOW.
//! Owns nothing. Spec: Istio AuthorizationPolicy.

mod denial;
mod matching;

pub use denial::{Denial, Miss, Why};

use crate::l4::{ConnectionFacts, DryRun, RuleRef};
use ambit_model::authorization::PolicyAction;
use ambit_model::route::AccessPolicy;
use http::HeaderMap;
use matching::{Facts, Outcome};
use serde::Serialize;

/// What is spoken on the connection that asks for admission.
#[derive(Clone, Copy, Debug)]
pub enum Spoken<'a> {
    /// One request.
    Request(RequestFacts<'a>),
    /// Bytes.
    Bytes {
        /// Server name of the client's own TLS, if it begins with that.
        sni: Option<&'a str>,
    },
}

/// What is known of one request, beside its connection.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Method.
    pub method: &'a str,
    /// `:authority` or `Host`, perhaps with a port.
    pub authority: &'a str,
    /// Normalised path without the query.
    pub path: &'a str,
    /// As received.
    pub headers: &'a HeaderMap,
}

/// Whether it may proceed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It may.
    Allowed {
        /// The ALLOW rule that matched; `None` when no ALLOW policy applies.
        by: Option<RuleRef>,
    },
    /// It may not.
    Denied(Denial),
}

/// The verdict and what the policies on trial would have said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// Enforced.
    pub verdict: Verdict,
    /// Reported only; empty in the common case.
    pub dry_run: Vec<DryRun>,
}

/// Evaluates `policies`. O(rules); allocates only where a principal, an authority with upper case or a
/// repeated header is compared, or something is denied.
pub fn evaluate<'p>(
    policies: impl IntoIterator<Item = &'p AccessPolicy>,
    connection: &ConnectionFacts,
    spoken: Spoken<'_>,
) -> Evaluation {
    let facts = Facts::new(connection, spoken);
    let mut tally = Tally::default();
    for policy in policies {
        tally.add(policy, &facts);
    }
    tally.conclude()
}

/// What has been seen so far, in policy order.
#[derive(Default)]
struct Tally<'p> {
    denied_by: Option<RuleRef>,
    allowed_by: Option<RuleRef>,
    /// The ALLOW rule that came closest.
    nearest: Option<(&'p AccessPolicy, Miss)>,
    allow_policies: usize,
    dry_run: Vec<DryRun>,
}

impl<'p> Tally<'p> {
    fn add(&mut self, policy: &'p AccessPolicy, facts: &Facts<'_>) {
        let deny = policy.action == PolicyAction::Deny;
        let outcome = matching::policy(policy, facts);
        if policy.dry_run {
            self.dry_run.push(DryRun {
                policy: policy.key.clone(),
                deny,
                matched: outcome.matched(),
            });
            return;
        }
        if !deny {
            self.allow_policies += 1;
        }
        match outcome {
            Outcome::Matched(rule) => {
                let slot = if deny {
                    &mut self.denied_by
                } else {
                    &mut self.allowed_by
                };
                slot.get_or_insert_with(|| RuleRef {
                    policy: policy.key.clone(),
                    rule,
                });
            }
            Outcome::Missed(Some(miss)) if !deny => {
                let nearer = |(_, best): &(_, Miss)| miss.clause > best.clause;
                if self.nearest.as_ref().is_none_or(nearer) {
                    self.nearest = Some((policy, miss));
                }
            }
            Outcome::Missed(_) => {}
        }
    }

    fn conclude(self) -> Evaluation {
        let verdict = if let Some(by) = self.denied_by {
            Verdict::Denied(Denial {
                policy: Some(by.policy),
                rule: Some(by.rule),
                why: Why::ExplicitDeny,
            })
        } else if self.allowed_by.is_some() || self.allow_policies == 0 {
            Verdict::Allowed {
                by: self.allowed_by,
            }
        } else {
            let (policy, miss) = self.nearest.unzip();
            Verdict::Denied(Denial {
                policy: policy.map(|p| p.key.clone()),
                rule: miss.as_ref().map(|m| m.rule),
                why: Why::NoAllowMatched {
                    policies: self.allow_policies,
                    nearest: miss,
                },
            })
        };
        Evaluation {
            verdict,
            dry_run: self.dry_run,
        }
    }
}

#[cfg(test)]
mod tests;
