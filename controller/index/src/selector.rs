//! Label selectors, and the two ways labels are read.

use std::collections::BTreeMap;

/// Labels or annotations; `None` when the object has none.
pub(crate) type Labels<'a> = Option<&'a BTreeMap<String, String>>;

/// The value of one label; an empty one counts as absent.
pub(crate) fn label<'a>(labels: Labels<'a>, key: &str) -> Option<&'a str> {
    labels?
        .get(key)
        .map(String::as_str)
        .filter(|v| !v.is_empty())
}

/// Whether every pair of `wanted` is among `labels`. Nothing wanted matches everything.
pub(crate) fn matches(wanted: &BTreeMap<String, String>, labels: Labels<'_>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.is_some_and(|l| l.get(key) == Some(value)))
}
