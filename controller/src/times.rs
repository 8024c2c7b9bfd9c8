//! `lastTransitionTime` of conditions: kept while the condition's status stays, else now. Pure but for
//! [`now`].
//! Source: `metav1.Condition`.

use serde_json::Value;

const TIME: &str = "lastTransitionTime";

/// The time as `metav1.Time` has it: whole seconds.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    now.to_string()
}

/// `new` with times, where `old` is the same status as it was.
pub(crate) fn stamped(new: &Value, old: Option<&Value>, now: &str) -> Value {
    match new {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| {
                    let before = old.and_then(|old| old.get(key));
                    let value = match (key.as_str(), value) {
                        ("conditions", Value::Array(list)) => conditions(list, before, now),
                        _ => stamped(value, before, now),
                    };
                    (key.clone(), value)
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.iter()
                .enumerate()
                .map(|(i, value)| stamped(value, old.and_then(|old| old.get(i)), now))
                .collect(),
        ),
        plain => plain.clone(),
    }
}

fn conditions(new: &[Value], old: Option<&Value>, now: &str) -> Value {
    let old = old.and_then(Value::as_array).map(Vec::as_slice);
    let with_time = |condition: &Value| {
        let same = |c: &&Value| {
            c.get("type") == condition.get("type") && c.get("status") == condition.get("status")
        };
        let before = old.unwrap_or_default().iter().find(same);
        let time = before.and_then(|c| c.get(TIME)?.as_str()).unwrap_or(now);
        let mut condition = condition.clone();
        condition[TIME] = time.into();
        condition
    };
    new.iter().map(with_time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_changes_only_with_the_status() {
        let condition = |status: &str, message: &str| {
            json!({"parents": [{"conditions": [
                {"type": "Accepted", "status": status, "message": message}]}]})
        };
        let time = |status: &Value| {
            status["parents"][0]["conditions"][0][TIME]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let first = stamped(&condition("True", "a"), None, "t1");
        assert_eq!(time(&first), "t1");
        let second = stamped(&condition("True", "b"), Some(&first), "t2");
        assert_eq!(time(&second), "t1");
        let third = stamped(&condition("False", "b"), Some(&second), "t3");
        assert_eq!(time(&third), "t3");
    }
}
