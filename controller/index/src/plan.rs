//! Writes to do. The index only plans; the controller's writer executes.

use ambit_crds::ObjectKey;
use serde_json::Value;
use std::collections::BTreeMap;

/// Writes of one batch, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do.
    pub writes: Vec<Write>,
    /// Objects that we may have generated in a former run and that must stay as they are.
    pub untouched: Vec<ObjectKey>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Set the status of an object. Conditions carry no `lastTransitionTime`: the writer adds it.
    Status {
        /// Which object.
        key: ObjectKey,
        /// The whole `status`.
        status: Value,
    },
    /// Create or replace an object that we generate.
    Object {
        /// Which object.
        key: ObjectKey,
        /// The whole object.
        value: Value,
    },
    /// Withdraw what we wrote for an object: our status, or the object we generated.
    Remove {
        /// Which object.
        key: ObjectKey,
    },
}

/// Everything that should be written, by object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted(BTreeMap<ObjectKey, Want>);

#[derive(Clone, Debug, PartialEq)]
enum Want {
    Status(Value),
    Object(Value),
    Absent,
    Untouched,
}

impl Wanted {
    /// A status to have; of an object that we generate it becomes a part.
    pub(crate) fn status(&mut self, key: ObjectKey, status: Value) {
        match self.0.get_mut(&key) {
            Some(Want::Object(value)) => value["status"] = status,
            Some(Want::Absent | Want::Untouched) => {}
            _ => drop(self.0.insert(key, Want::Status(status))),
        }
    }

    /// An object to have.
    pub(crate) fn object(&mut self, key: ObjectKey, value: Value) {
        self.0.insert(key, Want::Object(value));
    }

    /// An object that we generated once and that must go.
    pub(crate) fn absent(&mut self, key: ObjectKey) {
        self.0.insert(key, Want::Absent);
    }

    /// An object that goes, unless something else was said of it.
    pub(crate) fn forget(&mut self, key: ObjectKey) {
        self.0.entry(key).or_insert(Want::Absent);
    }

    /// An object that stays as it is, there or not, unless something else was said of it.
    pub(crate) fn spare(&mut self, key: ObjectKey) {
        self.0.entry(key).or_insert(Want::Untouched);
    }

    /// Leaves objects as they are that are somebody else's to write about; what we wrote about those that
    /// `is_there` before, too.
    pub(crate) fn leave(
        &mut self,
        (former, is_there): (&Self, impl Fn(&ObjectKey) -> bool),
        is_others: impl Fn(&ObjectKey) -> bool,
    ) {
        let is_written = |want: &Want| !matches!(want, Want::Object(_) | Want::Absent);
        let before = former.0.iter().filter(|(key, _)| is_there(key));
        let known = self.0.iter().chain(before);
        let known = known.filter(|(key, want)| is_written(want) && is_others(key));
        let keys: Vec<ObjectKey> = known.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.0.insert(key, Want::Untouched);
        }
    }

    /// The writes that lead from `former` to here.
    pub(crate) fn plan_since(&self, former: &Self) -> Plan {
        let gone = former
            .0
            .iter()
            .filter(|(key, want)| **want != Want::Absent && !self.0.contains_key(key))
            .map(|(key, _)| Write::Remove { key: key.clone() });
        let set = self
            .0
            .iter()
            .filter(|(key, want)| former.0.get(key) != Some(want))
            .filter_map(|(key, want)| match want {
                Want::Status(status) => Some(Write::Status {
                    key: key.clone(),
                    status: status.clone(),
                }),
                Want::Object(value) => Some(Write::Object {
                    key: key.clone(),
                    value: value.clone(),
                }),
                Want::Absent => Some(Write::Remove { key: key.clone() }),
                Want::Untouched => None,
            });
        let untouched = self.0.iter();
        let untouched = untouched.filter(|(_, want)| **want == Want::Untouched);
        Plan {
            writes: gone.chain(set).collect(),
            untouched: untouched.map(|(key, _)| key.clone()).collect(),
        }
    }
}
