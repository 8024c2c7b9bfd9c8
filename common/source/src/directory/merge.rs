//! Joins a document with what status writers say about it. Pure.
//! A writer can set `status` and `metadata.annotations`; a spec is never touched.

use serde_json::{Map, Value};

/// `base` with one writer's patch on top.
pub(super) fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(base) = base else { return };
    if let Some(status) = patch.get("status") {
        merge_value(base.entry("status").or_insert(Value::Null), status);
    }
    let annotations = patch.get("metadata").and_then(|m| m.get("annotations"));
    if let Some(annotations @ Value::Object(_)) = annotations {
        let meta = base
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(meta) = meta {
            merge_value(
                meta.entry("annotations").or_insert(Value::Null),
                annotations,
            );
        }
    }
}

/// RFC 7396 merge patch, except that lists of conditions are joined by `type`.
fn merge_value(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Value::Object(base) = base else { return };
    for (key, value) in patch {
        match (key.as_str(), value) {
            (_, Value::Null) => {
                base.remove(key);
            }
            ("conditions", Value::Array(new)) => {
                let slot = base
                    .entry("conditions")
                    .or_insert_with(|| Value::Array(Vec::new()));
                join_conditions(slot, new);
            }
            _ => merge_value(base.entry(key.as_str()).or_insert(Value::Null), value),
        }
    }
}

fn join_conditions(base: &mut Value, new: &[Value]) {
    let Value::Array(base) = base else {
        *base = Value::Array(new.to_vec());
        return;
    };
    for condition in new {
        let kind = condition.get("type");
        match base
            .iter_mut()
            .find(|c| kind.is_some() && c.get("type") == kind)
        {
            Some(same) => *same = condition.clone(),
            None => base.push(condition.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writers_join_and_never_touch_the_spec() {
        let mut base =
            json!({"metadata": {"name": "a", "annotations": {"x": "1"}}, "spec": {"a": 1}});
        merge(
            &mut base,
            &json!({"metadata": {"name": "evil", "annotations": {"y": "2"}}, "spec": {"a": 9}}),
        );
        merge(
            &mut base,
            &json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}}),
        );
        merge(
            &mut base,
            &json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "B"}]}}),
        );
        assert_eq!(
            base,
            json!({
                "metadata": {"name": "a", "annotations": {"x": "1", "y": "2"}},
                "spec": {"a": 1},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "B"}]}
            })
        );
        merge(
            &mut base,
            &json!({"metadata": {"annotations": {"x": null}}, "status": null}),
        );
        assert_eq!(base["metadata"]["annotations"], json!({"y": "2"}));
        assert_eq!(base["status"], Value::Null);
    }
}
