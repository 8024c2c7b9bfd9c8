//! Statuses of objects: conditions and other fields, collected while deriving.
//! Out: one `status` per object, for the plan. Times are the writer's.
//! Source: `metav1.Condition`; Istio's condition types and reasons.

use crate::plan::Wanted;
use ambit_crds::ObjectKey;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Condition of every object that we may refuse and whose kind has no condition for it.
pub(crate) const ACCEPTED: &str = "ambit.io/Accepted";

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) met: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Condition {
    pub(crate) fn new(
        kind: &'static str,
        met: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            met,
            reason,
            message: message.into(),
        }
    }

    /// Not accepted.
    pub(crate) fn rejected(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ACCEPTED, false, reason, message)
    }

    /// As JSON, without `lastTransitionTime`.
    pub(crate) fn json(&self) -> Value {
        let status = if self.met { "True" } else { "False" };
        json!({"type": self.kind, "status": status, "reason": self.reason, "message": self.message})
    }
}

#[derive(Debug, Default)]
struct Draft {
    conditions: Vec<Condition>,
    fields: Map<String, Value>,
}

/// Statuses being collected.
#[derive(Debug, Default)]
pub(crate) struct Statuses(BTreeMap<ObjectKey, Draft>);

impl Statuses {
    /// Adds a condition. A second one of the same kind adds its message to the first, and the
    /// failure of the two decides.
    pub(crate) fn condition(&mut self, key: ObjectKey, condition: Condition) {
        let draft = self.0.entry(key).or_default();
        let same = draft
            .conditions
            .iter_mut()
            .find(|c| c.kind == condition.kind);
        let Some(same) = same else {
            draft.conditions.push(condition);
            return;
        };
        if same.met && !condition.met {
            *same = condition;
        } else if same.met == condition.met && same.message != condition.message {
            same.message = format!("{}; {}", same.message, condition.message);
        }
    }

    /// Sets another field of the status.
    pub(crate) fn field(&mut self, key: ObjectKey, name: &str, value: Value) {
        let draft = self.0.entry(key).or_default();
        draft.fields.insert(name.to_owned(), value);
    }

    /// Adds all of others.
    pub(crate) fn add(&mut self, others: &Self) {
        for (key, draft) in &others.0 {
            for condition in &draft.conditions {
                self.condition(key.clone(), condition.clone());
            }
            for (name, value) in &draft.fields {
                self.field(key.clone(), name, value.clone());
            }
        }
    }

    /// Every status as a write to have.
    pub(crate) fn into_wanted(self, wanted: &mut Wanted) {
        for (key, draft) in self.0 {
            let mut status = draft.fields;
            if !draft.conditions.is_empty() {
                let conditions = draft.conditions.iter().map(Condition::json).collect();
                status.insert("conditions".to_owned(), Value::Array(conditions));
            }
            wanted.status(key, Value::Object(status));
        }
    }
}
