//! Why a request was denied: in Envoy's words for the access log, in plain ones for people.
//! In: what `l7::evaluate` found. Out: `Denial`, printed by logs and `explain`.

use ambit_model::ids::PolicyKey;
use serde::Serialize;
use std::fmt;

/// A refusal by policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The policy that decided, or the ALLOW policy that came closest; `None` when no ALLOW policy has
    /// a rule that could match.
    pub policy: Option<PolicyKey>,
    /// Index in its `spec.rules`.
    pub rule: Option<usize>,
    /// The reason.
    pub why: Why,
}

/// The reason of a [`Denial`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Why {
    /// A DENY rule matched.
    ExplicitDeny,
    /// ALLOW policies apply and none matched.
    NoAllowMatched {
        /// How many ALLOW policies apply.
        policies: usize,
        /// The rule that came closest and what it failed on.
        nearest: Option<Miss>,
    },
}

/// Where a rule failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Index in `spec.rules`.
    pub rule: usize,
    /// Index of its first clause that did not match.
    pub clause: usize,
    /// The attribute of that clause that did not match, as the policy names it.
    pub attribute: String,
}

impl Denial {
    /// Envoy's response code details: users search access logs for them.
    pub fn details(&self) -> String {
        let matched = match (&self.why, &self.policy, self.rule) {
            (Why::ExplicitDeny, Some(policy), Some(rule)) => format!(
                "ns[{}]-policy[{}]-rule[{rule}]",
                policy.namespace, policy.name
            ),
            _ => "none".to_owned(),
        };
        format!("rbac_access_denied_matched_policy[{matched}]")
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.why, &self.policy, self.rule) {
            (Why::ExplicitDeny, Some(policy), Some(rule)) => {
                write!(f, "explicitly denied by: {policy} (rule {rule})")
            }
            (Why::ExplicitDeny, ..) => f.write_str("explicitly denied"),
            (Why::NoAllowMatched { nearest, .. }, policy, _) => {
                f.write_str("allow policies exist, but none allowed")?;
                if let (Some(policy), Some(miss)) = (policy, nearest) {
                    write!(
                        f,
                        " (closest: {policy} rule {}, {} did not match)",
                        miss.rule, miss.attribute
                    )?;
                }
                Ok(())
            }
        }
    }
}
