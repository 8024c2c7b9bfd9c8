//! What a status says of the certificate authority.
//! In: the controller's `/debug/authority`, the time. Out: one line, and what somebody should look at. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// An end that is nearer than this is a worry.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One line; `None` where the controller does not say.
pub(super) fn summary(authority: &Value) -> Option<String> {
    let roots = authority["roots"].as_array()?;
    let signs = match authority["external"].as_str() {
        Some(signer) => format!("signed outside by {signer}"),
        None => format!("signs until {}", authority["signsUntil"].as_str()?),
    };
    let count = match roots.len() {
        1 => "1 root".to_owned(),
        n => format!("{n} roots"),
    };
    // Which step is next, only the replica that leads knows for sure.
    let change = match authority["pending"].is_string() {
        true => ", a change of roots is under way",
        false => "",
    };
    Some(format!("{count}, {signs}{change}"))
}

/// What somebody should look at.
pub(super) fn worries(authority: &Value, now: Timestamp) -> Vec<String> {
    let mut worries = Vec::new();
    if let Some(refused) = authority["refused"].as_str() {
        worries.push(format!("the new one is not used: {refused}"));
    }
    let mut ends = |what: &str, value: &Value| {
        let Some(end) = time(value) else { return };
        let left = end.duration_since(now);
        if left < SOON {
            let hours = left.as_hours().max(0);
            worries.push(format!("{what} ends in {hours} h"));
        }
    };
    ends("what signs", &authority["signsUntil"]);
    for root in authority["roots"].as_array().into_iter().flatten() {
        if root["signs"] == true {
            ends("the root that signs", &root["expirationTime"]);
        }
    }
    worries
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refused_authority_and_a_near_end_are_worries() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut authority = json!({
            "roots": [
                {"serialNumber": "1", "expirationTime": "2030-01-01T00:00:00Z", "signs": true},
                {"serialNumber": "2", "expirationTime": "2026-01-01T05:00:00Z", "signs": false},
            ],
            "signsUntil": "2027-01-01T00:00:00Z", "pending": "retire", "refused": null,
        });
        assert_eq!(
            summary(&authority).unwrap(),
            "2 roots, signs until 2027-01-01T00:00:00Z, a change of roots is under way"
        );
        assert!(worries(&authority, now).is_empty());
        authority["refused"] = "no".into();
        authority["signsUntil"] = "2026-01-02T00:00:00Z".into();
        assert_eq!(
            worries(&authority, now),
            ["the new one is not used: no", "what signs ends in 24 h"]
        );
        assert_eq!(summary(&Value::Null), None);
        authority["signsUntil"] = Value::Null;
        assert_eq!(summary(&authority), None);
        authority["external"] = "a.example/b".into();
        assert_eq!(
            summary(&authority).unwrap(),
            "2 roots, signed outside by a.example/b, a change of roots is under way"
        );
        assert!(worries(&Value::Null, now).is_empty());
    }
}
