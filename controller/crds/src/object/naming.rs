//! What a document says it is called, and whether that is a name. Pure.
//! In: a JSON value. Out: its kind, namespace and name, checked and completed as `kubectl apply` does.

use crate::key::{Kind, ObjectRef};
use serde_json::{Map, Value};

pub(super) fn value_is_no_text(metadata: Option<&Value>, part: &str) -> bool {
    metadata
        .and_then(|m| m.get(part))
        .is_some_and(|v| !v.is_string())
}

/// What a document says it is, before anything is checked.
pub(crate) fn reference(value: &Value) -> ObjectRef {
    let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or("").to_owned();
    let meta = value.get("metadata");
    ObjectRef {
        kind: text(value.get("kind")),
        namespace: text(meta.and_then(|m| m.get("namespace"))),
        name: text(meta.and_then(|m| m.get("name"))),
    }
}

/// Checks the name and fills in the namespace, as `kubectl apply` does: `default` when absent.
pub(super) fn place(
    map: &mut Map<String, Value>,
    kind: &Kind,
    named: &ObjectRef,
) -> Result<(), (&'static str, String)> {
    let Some(Value::Object(meta)) = map.get_mut("metadata") else {
        return Err(("metadata", "required".into()));
    };
    if named.name.is_empty() {
        return Err(("metadata.name", "required".into()));
    }
    if !is_dns_subdomain(&named.name) {
        return Err((
            "metadata.name",
            "must be lower-case letters, digits, `-` and `.`, at most 253".into(),
        ));
    }
    if !kind.is_namespaced() {
        meta.remove("namespace");
    } else if named.namespace.is_empty() {
        meta.insert("namespace".into(), Value::String("default".into()));
    } else if !is_dns_label(&named.namespace) {
        return Err((
            "metadata.namespace",
            "must be lower-case letters, digits and `-`, at most 63".into(),
        ));
    }
    Ok(())
}

/// RFC 1123 label: also what makes a namespace safe as a path component.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}
