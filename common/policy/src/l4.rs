//! L4 authorization: which policies apply to a destination and what they say of one connection.
//! In: the snapshot, the destination workload, the facts of the connection. Out: `Evaluation`.
//! Policies that apply: those of the destination's namespace, the global ones, those it names.
//! Order: any DENY match denies; a named but unknown policy denies; no ALLOW policy allows; any ALLOW
//! match allows; else denied. `dry_run` policies are evaluated and reported, never enforced.
//! Owns nothing. Spec: `istio.security.Authorization`.

mod denial;
mod matching;

pub use denial::{Denial, Miss, Why};
pub use matching::Field;

use ambit_model::authorization::{Authorization, PolicyAction};
use ambit_model::ids::{PolicyKey, SpiffeId};
use ambit_model::snapshot::Snapshot;
use ambit_model::workload::Workload;
use matching::{Outcome, Peer};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of one connection when it asks for admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionFacts {
    /// Address of the client as the destination sees it.
    pub source_ip: IpAddr,
    /// Identity from the peer's certificate; `None` for plaintext.
    pub source_identity: Option<SpiffeId>,
    /// Address the application will be dialled on.
    pub destination_ip: IpAddr,
    /// Port the application will be dialled on, host order.
    pub destination_port: u16,
}

/// One rule of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// The policy.
    pub policy: PolicyKey,
    /// Index in `Authorization.rules`.
    pub rule: usize,
}

/// Whether the connection may proceed.
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

impl Verdict {
    /// It may proceed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// What a policy in `dry_run` would have matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// The policy.
    pub policy: PolicyKey,
    /// Its action is DENY; else ALLOW.
    pub deny: bool,
    /// The rule that matched, if one did.
    pub matched: Option<usize>,
}

/// The verdict and what the policies on trial would have said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// Enforced.
    pub verdict: Verdict,
    /// Reported only; empty in the common case.
    pub dry_run: Vec<DryRun>,
}

/// Evaluates every policy that applies to `destination`. O(rules of those policies), no allocation
/// unless a principal is compared or something is denied.
pub fn evaluate(
    snapshot: &Snapshot,
    destination: &Workload,
    facts: &ConnectionFacts,
) -> Evaluation {
    let peer = Peer::new(facts);
    let mut tally = Tally::default();
    let general = snapshot
        .namespace_policies(&destination.namespace)
        .iter()
        .chain(snapshot.global_policies());
    for key in general.chain(&destination.policies) {
        match snapshot.policy(key) {
            Some(policy) => tally.add(policy, &peer),
            None => {
                tally.unknown.get_or_insert_with(|| key.clone());
            }
        }
    }
    tally.conclude()
}

/// What has been seen so far, in policy order.
#[derive(Default)]
struct Tally {
    denied_by: Option<RuleRef>,
    unknown: Option<PolicyKey>,
    allowed_by: Option<RuleRef>,
    /// The ALLOW rule that came closest, of the policies that did not match.
    nearest: Option<(Arc<Authorization>, Miss)>,
    allow_policies: usize,
    dry_run: Vec<DryRun>,
}

impl Tally {
    fn add(&mut self, policy: &Arc<Authorization>, peer: &Peer<'_>) {
        let deny = policy.action == PolicyAction::Deny;
        if policy.dry_run {
            let matched = match matching::policy(policy, peer) {
                Outcome::Matched(rule) => Some(rule),
                Outcome::Missed(_) => None,
            };
            let policy = policy.key.clone();
            self.dry_run.push(DryRun {
                policy,
                deny,
                matched,
            });
            return;
        }
        if deny {
            self.add_deny(policy, peer);
        } else {
            self.add_allow(policy, peer);
        }
    }

    fn add_deny(&mut self, policy: &Authorization, peer: &Peer<'_>) {
        if self.denied_by.is_some() {
            return;
        }
        if let Outcome::Matched(rule) = matching::policy(policy, peer) {
            let policy = policy.key.clone();
            self.denied_by = Some(RuleRef { policy, rule });
        }
    }

    fn add_allow(&mut self, policy: &Arc<Authorization>, peer: &Peer<'_>) {
        self.allow_policies += 1;
        if self.allowed_by.is_some() {
            return;
        }
        match matching::policy(policy, peer) {
            Outcome::Matched(rule) => {
                let policy = policy.key.clone();
                self.allowed_by = Some(RuleRef { policy, rule });
            }
            Outcome::Missed(Some(miss)) => {
                if self
                    .nearest
                    .as_ref()
                    .is_none_or(|(_, m)| miss.clause > m.clause)
                {
                    self.nearest = Some((policy.clone(), miss));
                }
            }
            Outcome::Missed(None) => {}
        }
    }

    fn conclude(self) -> Evaluation {
        let denied = |policy, rule, why| Verdict::Denied(Denial { policy, rule, why });
        let verdict = if let Some(by) = self.denied_by {
            denied(Some(by.policy), Some(by.rule), Why::ExplicitDeny)
        } else if let Some(policy) = self.unknown {
            denied(Some(policy), None, Why::UnknownPolicy)
        } else if self.allowed_by.is_some() || self.allow_policies == 0 {
            Verdict::Allowed {
                by: self.allowed_by,
            }
        } else {
            let policies = self.allow_policies;
            match self.nearest {
                Some((policy, miss)) => denied(
                    Some(policy.key.clone()),
                    Some(miss.rule),
                    Why::NoAllowMatched {
                        policies,
                        nearest: Some(miss),
                    },
                ),
                None => denied(
                    None,
                    None,
                    Why::NoAllowMatched {
                        policies,
                        nearest: None,
                    },
                ),
            }
        };
        Evaluation {
            verdict,
            dry_run: self.dry_run,
        }
    }
}

#[cfg(test)]
mod tests;
