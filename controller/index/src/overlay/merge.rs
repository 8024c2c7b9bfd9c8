//! Strategic merge: maps are merged, null takes a field away, lists of named things are merged by name, other
//! lists are replaced. Directives: `$patch: replace | delete | merge`, `$retainKeys`; the order of elements
//! (`$setElementOrder`) is not kept.
//! Source: Kubernetes `strategicpatch`, and the `patchMergeKey` of each list in its API types.

use super::{Overlaid, OverlayError};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";

/// The field that names the elements of a list; `None`: the list is one value.
fn merge_key(kind: Overlaid, field: &str) -> Option<&'static str> {
    Some(match (kind, field) {
        (_, "ownerReferences") => "uid",
        (Overlaid::Service, "ports") => "port",
        (Overlaid::ServiceAccount, "secrets") => "name",
        (Overlaid::ServiceAccount | Overlaid::Deployment, "imagePullSecrets") => "name",
        (Overlaid::Deployment, field) => match field {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "schedulingGates"
            | "resourceClaims" => "name",
            "ports" => "containerPort",
            "volumeMounts" => "mountPath",
            "volumeDevices" => "devicePath",
            "hostAliases" => "ip",
            "topologySpreadConstraints" => "topologyKey",
            _ => return None,
        },
        _ => return None,
    })
}

/// Maps that are one value.
fn is_atomic(kind: Overlaid, field: &str) -> bool {
    kind == Overlaid::PodDisruptionBudget && field == "selector"
}

/// What a map says should be done with it.
enum Verb {
    Merge,
    Replace,
    Delete,
}

/// `document` with `patch` merged into it.
pub(super) fn merge(
    kind: Overlaid,
    document: &Value,
    patch: Map<String, Value>,
) -> Result<Value, OverlayError> {
    let mut merged = match document {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    let mut merger = Merger {
        kind,
        path: Vec::new(),
    };
    match merger.map(&mut merged, patch)? {
        Fate::Stays => Ok(Value::Object(merged)),
        Fate::Goes => Err(OverlayError::field(
            "$patch",
            "the object cannot be deleted",
        )),
    }
}

/// Whether a map is still there after the merge.
#[derive(PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

struct Merger {
    kind: Overlaid,
    /// Fields and indices down to here.
    path: Vec<String>,
}

impl Merger {
    fn map(
        &mut self,
        target: &mut Map<String, Value>,
        mut patch: Map<String, Value>,
    ) -> Result<Fate, OverlayError> {
        match self.verb(&mut patch)? {
            Verb::Delete => return Ok(Fate::Goes),
            Verb::Replace => target.clear(),
            Verb::Merge => {}
        }
        if let Some(kept) = self.retained(&mut patch)? {
            target.retain(|key, _| kept.contains(key));
        }
        for (field, value) in patch {
            if field.starts_with(ORDER) {
                continue;
            }
            self.path.push(field);
            self.field(target, value)?;
            self.path.pop();
        }
        Ok(Fate::Stays)
    }

    /// The field that the path ends with.
    fn field(&mut self, target: &mut Map<String, Value>, value: Value) -> Result<(), OverlayError> {
        let Some(field) = self.path.last().cloned() else {
            return Ok(());
        };
        if field.starts_with('$') {
            return Err(self.error("this directive is not supported"));
        }
        match value {
            Value::Null => drop(target.remove(&field)),
            Value::Object(patch) => {
                let mut inner = match target.remove(&field) {
                    Some(Value::Object(map)) if !is_atomic(self.kind, &field) => map,
                    _ => Map::new(),
                };
                if self.map(&mut inner, patch)? == Fate::Stays {
                    target.insert(field, Value::Object(inner));
                }
            }
            Value::Array(patch) => {
                let list = match merge_key(self.kind, &field) {
                    Some(key) => {
                        let there = match target.remove(&field) {
                            Some(Value::Array(items)) => items,
                            _ => Vec::new(),
                        };
                        self.list(there, patch, key)?
                    }
                    None => patch,
                };
                target.insert(field, Value::Array(list));
            }
            value => drop(target.insert(field, value)),
        }
        Ok(())
    }

    /// A list whose elements are named by `key`.
    fn list(
        &mut self,
        mut there: Vec<Value>,
        patch: Vec<Value>,
        key: &str,
    ) -> Result<Vec<Value>, OverlayError> {
        let clears = |item: &Value| {
            item.as_object()
                .is_some_and(|map| map.len() == 1 && map.get(PATCH) == Some(&"replace".into()))
        };
        if patch.iter().any(clears) {
            there.clear();
        }
        for (index, item) in patch.into_iter().enumerate() {
            if clears(&item) {
                continue;
            }
            self.path.push(format!("[{index}]"));
            self.element(&mut there, item, key)?;
            self.path.pop();
        }
        Ok(there)
    }

    fn element(
        &mut self,
        there: &mut Vec<Value>,
        item: Value,
        key: &str,
    ) -> Result<(), OverlayError> {
        let Value::Object(item) = item else {
            return Err(self.error("must be a map"));
        };
        let Some(name) = item.get(key).filter(|name| !name.is_null()).cloned() else {
            return Err(self.error(&format!("needs `{key}`, which says which one it is")));
        };
        let same = |other: &Value| other.get(key) == Some(&name);
        let place = there.iter().position(same);
        let mut element = match place.and_then(|place| there[place].as_object()) {
            Some(map) => map.clone(),
            None => Map::new(),
        };
        let fate = self.map(&mut element, item)?;
        match (place, fate) {
            (Some(place), Fate::Stays) => there[place] = Value::Object(element),
            (Some(place), Fate::Goes) => drop(there.remove(place)),
            (None, Fate::Stays) => there.push(Value::Object(element)),
            (None, Fate::Goes) => {}
        }
        Ok(())
    }

    fn verb(&self, patch: &mut Map<String, Value>) -> Result<Verb, OverlayError> {
        match patch.remove(PATCH) {
            None => Ok(Verb::Merge),
            Some(verb) => match verb.as_str() {
                Some("merge") => Ok(Verb::Merge),
                Some("replace") => Ok(Verb::Replace),
                Some("delete") => Ok(Verb::Delete),
                _ => Err(self.error("$patch must be merge, replace or delete")),
            },
        }
    }

    fn retained(
        &self,
        patch: &mut Map<String, Value>,
    ) -> Result<Option<Vec<String>>, OverlayError> {
        let names = |list: Vec<Value>| {
            let names = list.into_iter().map(|name| match name {
                Value::String(name) => Some(name),
                _ => None,
            });
            names.collect::<Option<Vec<_>>>()
        };
        match patch.remove(RETAIN) {
            None => Ok(None),
            Some(Value::Array(list)) => match names(list) {
                Some(names) => Ok(Some(names)),
                None => Err(self.error("$retainKeys must be a list of field names")),
            },
            Some(_) => Err(self.error("$retainKeys must be a list of field names")),
        }
    }

    fn error(&self, reason: &str) -> OverlayError {
        let path = self.path.join(".").replace(".[", "[");
        OverlayError::field(path, reason)
    }
}
