//! Which of several objects is the oldest: by creation time, then name. Objects without a time are
//! of equal age, after all that have one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

/// Sorts oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(bool, Option<Timestamp>, String, String);

impl Age {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let created = meta.creation_timestamp.as_ref().map(|t| t.0);
        Self(
            created.is_none(),
            created,
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}
