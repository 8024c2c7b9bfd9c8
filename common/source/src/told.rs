//! What readers were told last of every object.
//! In: what is true of an object now. Out: what readers have to learn, if anything. Pure.

use crate::Change;
use ambit_crds::{Object, ObjectKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects that readers have.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<ObjectKey, Arc<Object>>);

impl Told {
    /// Notes that readers are told; `None` when they have it already.
    pub(crate) fn change(&mut self, key: ObjectKey, now: Option<Arc<Object>>) -> Option<Change> {
        let Some(object) = now else {
            return self.0.remove(&key).map(|_| Change::Delete(key));
        };
        if self.0.get(&key).is_some_and(|told| **told == *object) {
            return None;
        }
        self.0.insert(key, object.clone());
        Some(Change::Upsert(object))
    }

    /// What readers have.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> &BTreeMap<ObjectKey, Arc<Object>> {
        &self.0
    }
}
