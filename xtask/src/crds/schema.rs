//! Words to write schemas with. Pure.
//! In: names and inner schemas. Out: structural OpenAPI v3 schemas.

use serde_json::{Map, Value, json};

/// Named inner schemas.
pub(super) type Fields<'a> = &'a [(&'a str, Value)];

/// A map with these fields; any others are kept as they are.
pub(super) fn open(fields: Fields<'_>) -> Value {
    let mut schema = closed(fields);
    schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    schema
}

/// A map whose other fields would be dropped.
fn closed(fields: Fields<'_>) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    if properties.is_empty() {
        json!({"type": "object"})
    } else {
        json!({"type": "object", "properties": properties})
    }
}

/// The same with a description.
pub(super) fn about(text: &str, mut schema: Value) -> Value {
    schema["description"] = text.into();
    schema
}

/// The same with fields that must be there.
pub(super) fn required(names: &[&str], mut schema: Value) -> Value {
    schema["required"] = json!(names);
    schema
}

/// Any map.
pub(super) fn any() -> Value {
    open(&[])
}

/// A list.
pub(super) fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// Text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// A list of texts.
pub(super) fn texts() -> Value {
    list(text())
}

/// One of these words.
pub(super) fn word(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// A duration such as `1.5s`.
pub(super) fn duration() -> Value {
    text()
}

/// A switch.
pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A whole number from 0.
pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32})
}

/// Any 32-bit number.
pub(super) fn integer() -> Value {
    json!({"type": "integer", "format": "int32"})
}

/// A port.
pub(super) fn port() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 65_535})
}

/// A number with a fraction.
pub(super) fn number() -> Value {
    json!({"type": "number", "format": "double"})
}

/// Texts by name.
pub(super) fn labels() -> Value {
    map_of(text())
}

/// Values by name.
pub(super) fn map_of(value: Value) -> Value {
    json!({"type": "object", "additionalProperties": value})
}

/// `exact`, `prefix` or `regex`.
pub(super) fn string_match() -> Value {
    open(&[("exact", text()), ("prefix", text()), ("regex", text())])
}

/// `selector` by labels.
pub(super) fn selector() -> Value {
    about("Pods it is for.", open(&[("matchLabels", labels())]))
}

/// `targetRef`.
pub(super) fn target_ref() -> Value {
    required(
        &["kind", "name"],
        open(&[
            ("group", text()),
            ("kind", text()),
            ("name", text()),
            ("namespace", text()),
        ]),
    )
}
