//! An object and the status patches its writers left beside it → the object as everyone sees it.
//! Pure. Patches may set `status` and `metadata.annotations`, nothing else; `conditions` are merged
//! by `type`, so two writers may each own some.

use serde_json::{Map, Value};

/// Merges `patches`, in order, into `object`.
pub fn merge<'a>(object: &Value, patches: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut merged = object.clone();
    let Value::Object(map) = &mut merged else {
        return merged;
    };
    for patch in patches {
        if let Some(status) = patch.get("status") {
            let slot = map.entry("status").or_insert(Value::Null);
            merge_status(slot, status);
        }
        let annotations = patch.pointer("/metadata/annotations");
        if let Some(Value::Object(annotations)) = annotations {
            merge_annotations(map, annotations);
        }
    }
    merged
}

fn merge_annotations(object: &mut Map<String, Value>, annotations: &Map<String, Value>) {
    let meta = object.entry("metadata").or_insert_with(empty);
    let Value::Object(meta) = meta else { return };
    let slot = meta.entry("annotations").or_insert_with(empty);
    if !slot.is_object() {
        *slot = empty();
    }
    let Value::Object(slot) = slot else { return };
    for (name, value) in annotations {
        if value.is_null() {
            slot.remove(name);
        } else {
            slot.insert(name.clone(), value.clone());
        }
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}

fn merge_status(into: &mut Value, from: &Value) {
    let (Value::Object(a), Value::Object(b)) = (&mut *into, from) else {
        *into = from.clone();
        return;
    };
    for (key, value) in b {
        match a.get_mut(key) {
            Some(Value::Array(list)) if key == "conditions" => merge_conditions(list, value),
            Some(slot) => merge_status(slot, value),
            None => {
                a.insert(key.clone(), value.clone());
            }
        }
    }
}

fn merge_conditions(into: &mut Vec<Value>, from: &Value) {
    let Value::Array(from) = from else { return };
    for condition in from {
        let kind = condition.get("type");
        match into.iter_mut().find(|c| c.get("type") == kind) {
            Some(slot) => *slot = condition.clone(),
            None => into.push(condition.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writers_own_their_conditions_and_cannot_touch_the_spec() {
        let object = json!({"spec": {"a": 1}, "status": {"conditions": [{"type": "A", "status": "False"}]}});
        let one = json!({"spec": {"a": 2}, "status": {"phase": "Running", "conditions": [{"type": "A", "status": "True"}]}});
        let two = json!({"metadata": {"labels": {"x": "y"}, "annotations": {"k": "v"}}, "status": {"conditions": [{"type": "B", "status": "True"}]}});
        let merged = merge(&object, [&one, &two]);
        assert_eq!(
            merged,
            json!({
                "spec": {"a": 1},
                "status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}], "phase": "Running"},
                "metadata": {"annotations": {"k": "v"}},
            })
        );
    }

    #[test]
    fn a_null_annotation_removes_it() {
        let object = json!({"metadata": {"annotations": {"k": "v"}}});
        let patch = json!({"metadata": {"annotations": {"k": null}}});
        assert_eq!(merge(&object, [&patch]), json!({"metadata": {"annotations": {}}}));
    }
}
