//! Why a connection was denied, in words a tired person can act on.
//! In: what `l4::evaluate` found. Out: `Denial`, printed by logs and `explain`.

use super::matching::Field;
use ambit_model::ids::PolicyKey;
use serde::Serialize;
use std::fmt;

/// A refusal by policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The policy that decided, or the ALLOW policy that came closest; `None` when no ALLOW policy has
    /// a rule that could match.
    pub policy: Option<PolicyKey>,
    /// Index in its rules.
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
        /// The rule that came closest and the clause it failed on.
        nearest: Option<Miss>,
    },
    /// The workload names a policy that is not known: nothing proves that it would allow.
    UnknownPolicy,
}

/// Where a rule failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Index of the rule.
    pub rule: usize,
    /// Index of its first clause that did not match.
    pub clause: usize,
    /// The field of that clause that did not match; `None`: the clause is empty and never matches.
    pub field: Option<Field>,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.why, &self.policy) {
            (Why::ExplicitDeny, Some(policy)) => {
                write!(f, "explicitly denied by: {policy}")?;
                match self.rule {
                    Some(rule) => write!(f, " (rule {rule})"),
                    None => Ok(()),
                }
            }
            (Why::ExplicitDeny, None) => f.write_str("explicitly denied"),
            (Why::UnknownPolicy, Some(policy)) => {
                write!(
                    f,
                    "policy {policy} is named by the workload and not known yet"
                )
            }
            (Why::UnknownPolicy, None) => f.write_str("a policy of the workload is not known yet"),
            (Why::NoAllowMatched { nearest, .. }, policy) => {
                f.write_str("allow policies exist, but none allowed")?;
                if let (Some(policy), Some(miss)) = (policy, nearest) {
                    write!(f, " (closest: {policy} rule {}, {miss})", miss.rule)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "clause {}: {field} did not match", self.clause),
            None => write!(f, "clause {} is empty", self.clause),
        }
    }
}
