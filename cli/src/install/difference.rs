//! What differs between an object as it should be and as it is. Pure.
//! Only what should be there counts: what the server or others add does not. Members of lists that have
//! names are told by them.

use serde_json::Value;

/// Set by the controller while it runs.
const ITS_OWN: [&str; 1] = ["failurePolicy"];
/// A value longer than this is cut.
const LONGEST: usize = 120;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Such as `spec.template.spec.containers[ztunnel].image`
    pub(crate) path: String,
    /// What is there; `None` if it is missing
    pub(crate) is: Option<String>,
    /// What should be
    pub(crate) wanted: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.is {
            None => write!(f, "{} is missing", self.path),
            Some(is) => write!(f, "{} is {is} instead of {}", self.path, self.wanted),
        }
    }
}

/// Every field of `wanted` that `live` has otherwise.
pub(crate) fn differences(wanted: &Value, live: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", wanted, live, &mut found);
    found
}

fn walk(path: &str, wanted: &Value, live: &Value, found: &mut Vec<Difference>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (key, value) in wanted {
                if ITS_OWN.contains(&key.as_str()) || is_empty(value) {
                    continue;
                }
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                match live.get(key) {
                    Some(live) => walk(&path, value, live, found),
                    None => found.push(Difference {
                        path,
                        is: None,
                        wanted: short(value),
                    }),
                }
            }
        }
        (Value::Array(wanted), Value::Array(live)) => lists(path, wanted, live, found),
        _ if wanted == live => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            is: Some(short(live)),
            wanted: short(wanted),
        }),
    }
}

fn lists(path: &str, wanted: &[Value], live: &[Value], found: &mut Vec<Difference>) {
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    let named = wanted.iter().chain(live).all(|item| name(item).is_some());
    if named && !wanted.is_empty() {
        for item in wanted {
            let name = name(item).unwrap_or_default();
            let path = format!("{path}[{name}]");
            match live.iter().find(|l| l["name"] == item["name"]) {
                Some(live) => walk(&path, item, live, found),
                None => found.push(Difference {
                    path,
                    is: None,
                    wanted: short(item),
                }),
            }
        }
        for item in live {
            if !wanted.iter().any(|w| w["name"] == item["name"]) {
                found.push(Difference {
                    path: format!("{path}[{}]", name(item).unwrap_or_default()),
                    is: Some("there".to_owned()),
                    wanted: "nothing".to_owned(),
                });
            }
        }
        return;
    }
    if wanted.len() == live.len() {
        for (i, (wanted, live)) in wanted.iter().zip(live).enumerate() {
            walk(&format!("{path}[{i}]"), wanted, live, found);
        }
        return;
    }
    found.push(Difference {
        path: path.to_owned(),
        is: Some(format!("{} entries", live.len())),
        wanted: wanted.len().to_string(),
    });
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(wanted: &Value, live: &Value) -> Vec<String> {
        differences(wanted, live)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn only_what_was_applied_is_compared() {
        let wanted =
            json!({"spec": {"a": 1, "list": [{"x": 1}], "none": []}, "failurePolicy": "Ignore"});
        let live =
            json!({"spec": {"a": 1, "b": 2, "list": [{"x": 1, "y": 2}]}, "failurePolicy": "Fail"});
        assert!(said(&wanted, &live).is_empty());
        let live = json!({"spec": {"a": 2, "list": [{"x": 1}]}});
        assert_eq!(said(&wanted, &live), ["spec.a is 2 instead of 1"]);
        let live = json!({"spec": {"a": 1, "list": []}});
        assert_eq!(
            said(&wanted, &live),
            ["spec.list is 0 entries instead of 1"]
        );
    }

    #[test]
    fn members_with_names_are_told_by_them() {
        let wanted = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let live = json!({"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "0"}]});
        assert_eq!(
            said(&wanted, &live),
            [
                "env[A].value is 0 instead of 1",
                "env[B] is missing",
                "env[C] is there instead of nothing",
            ]
        );
    }

    #[test]
    fn long_values_are_cut() {
        let found = differences(&json!({"a": "x".repeat(500)}), &json!({"a": ""}));
        assert!(found[0].wanted.chars().count() <= LONGEST + 1);
    }
}
