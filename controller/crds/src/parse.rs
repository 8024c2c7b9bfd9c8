//! Strict reading: typed value out, or every unknown field and the first wrong one, with paths.
//! Nulls are dropped first, as protobuf JSON treats them as absent.

use crate::error::{Code, FieldError, Severity};
use crate::key::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use std::fmt::Write as _;

/// Deepest nesting read; Kubernetes objects stay far below.
const MAX_DEPTH: usize = 64;

/// Removes map entries that are null. Fails when the value nests deeper than [`MAX_DEPTH`].
pub(crate) fn normalise(value: &mut Value) -> Result<(), TooDeep> {
    fn walk(value: &mut Value, left: usize) -> Result<(), TooDeep> {
        let left = left.checked_sub(1).ok_or(TooDeep)?;
        match value {
            Value::Object(map) => {
                map.retain(|_, v| !v.is_null());
                map.values_mut().try_for_each(|v| walk(v, left))
            }
            Value::Array(items) => items.iter_mut().try_for_each(|v| walk(v, left)),
            _ => Ok(()),
        }
    }
    walk(value, MAX_DEPTH)
}

/// The value nests too deep to be a Kubernetes object.
pub(crate) struct TooDeep;

/// What to do with fields the type does not have.
#[derive(Clone, Copy)]
pub(crate) enum UnknownFields {
    /// Kubernetes core kinds: newer servers add fields.
    Tolerate,
    /// Refuse; these patterns (`spec.http[].corsPolicy`) are known upstream and get another reason.
    Refuse(&'static [&'static str]),
}

/// Reads `value` as `T`. `root` is where it sits in the object, for example `spec`.
pub(crate) fn strict<T: DeserializeOwned>(
    object: &ObjectRef,
    root: &str,
    value: Value,
    unknown: UnknownFields,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let mut ignored: Vec<String> = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| ignored.push(ignored_path(root, &path));
    let reader = serde_ignored::Deserializer::new(value, &mut note);
    let parsed = serde_path_to_error::deserialize::<_, T>(reader);
    if let UnknownFields::Refuse(upstream) = unknown {
        errors.extend(
            ignored
                .into_iter()
                .map(|path| refused(object, path, upstream)),
        );
    }
    match parsed {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let path = error_path(root, error.path());
            errors.push(FieldError {
                object: object.clone(),
                path,
                reason: error.into_inner().to_string(),
                code: Code::Schema,
                severity: Severity::Error,
            });
            None
        }
    }
}

fn refused(object: &ObjectRef, path: String, upstream: &[&str]) -> FieldError {
    let pattern = without_indices(&path);
    let known = upstream.iter().any(|u| *u == pattern);
    FieldError {
        object: object.clone(),
        path,
        reason: if known {
            "not supported yet"
        } else {
            "unknown field"
        }
        .to_owned(),
        code: if known {
            Code::Unsupported
        } else {
            Code::UnknownField
        },
        severity: Severity::Error,
    }
}

fn ignored_path(root: &str, path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => root.to_owned(),
        Path::Seq { parent, index } => format!("{}[{index}]", ignored_path(root, parent)),
        Path::Map { parent, key } => join(ignored_path(root, parent), key),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => ignored_path(root, parent),
    }
}

fn error_path(root: &str, path: &serde_path_to_error::Path) -> String {
    path.iter()
        .fold(root.to_owned(), |mut out, segment| match segment {
            Segment::Seq { index } => {
                let _ = write!(out, "[{index}]");
                out
            }
            Segment::Map { key } => join(out, key),
            Segment::Enum { .. } | Segment::Unknown => out,
        })
}

fn join(mut parent: String, key: &str) -> String {
    if !parent.is_empty() {
        parent.push('.');
    }
    parent.push_str(key);
    parent
}

fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ if inside => {}
            _ => out.push(c),
        }
    }
    out
}
