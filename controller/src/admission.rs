//! Judging objects before they are stored: one AdmissionReview in, one out. Pure.
//! The rules are those of statuses and of `analyze`; no other object is looked at.
//! Spec: admission.k8s.io/v1 AdmissionReview.

use ambit_crds::{FieldError, Object, Severity, validate};
use serde_json::{Value, json};

/// Name of an object that is only ever asked about to learn whether we are asked: always refused, and
/// never meant to be stored.
pub(crate) const PROBE: &str = "ambit-webhook-probe";
/// Answer about it.
pub(crate) const PROBED: &str = "the webhook of ambit-controller answers";
/// What a client shows of one warning, and of all.
const MAX_WARNING: usize = 250;
const MAX_WARNINGS: usize = 16;
/// Mistakes named in a refusal.
const MAX_ERRORS: usize = 32;

/// Answers a review; `None` when the text is none.
pub(crate) fn review(body: &[u8]) -> Option<Value> {
    let review: Value = serde_json::from_slice(body).ok()?;
    let request = review.get("request")?;
    let uid = request.get("uid")?.as_str()?;
    let mut response = match probed(request) {
        true => refusal(PROBED),
        false => judge(request),
    };
    response["uid"] = uid.into();
    Some(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    }))
}

fn probed(request: &Value) -> bool {
    let dry_run = request.get("dryRun").and_then(Value::as_bool);
    let name = request.get("name").and_then(Value::as_str);
    dry_run == Some(true) && name == Some(PROBE)
}

fn judge(request: &Value) -> Value {
    // A delete carries no object.
    let object = request.get("object").filter(|object| object.is_object());
    let Some(object) = object else {
        return json!({"allowed": true});
    };
    let found = findings(object.clone());
    let is_error = |found: &&FieldError| found.severity == Severity::Error;
    let errors: Vec<String> = found
        .iter()
        .filter(is_error)
        .take(MAX_ERRORS)
        .map(text)
        .collect();
    if !errors.is_empty() {
        return refusal(&errors.join("; "));
    }
    let warnings: Vec<String> = found.iter().take(MAX_WARNINGS).map(text).collect();
    json!({"allowed": true, "warnings": warnings})
}

fn findings(object: Value) -> Vec<FieldError> {
    match Object::parse(object) {
        Err(errors) => errors,
        Ok(Object::Other(other)) => other.warning().into_iter().collect(),
        Ok(object) => validate(&object),
    }
}

fn refusal(message: &str) -> Value {
    json!({
        "allowed": false,
        "status": {"code": 422, "reason": "Invalid", "message": message},
    })
}

/// The object is known to who reads it.
fn text(found: &FieldError) -> String {
    let place = match found.path.as_str() {
        "" => String::new(),
        path => format!("{path}: "),
    };
    let text = format!("{place}{} [{}]", found.reason, found.code);
    text.chars().take(MAX_WARNING).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: Value) -> Value {
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        review(body.to_string().as_bytes()).unwrap()["response"].clone()
    }

    fn policy(action: &str) -> Value {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "a", "namespace": "n", "managedFields": [{"x": 1}]},
            "spec": {"action": action},
        })
    }

    #[test]
    fn wrong_objects_are_refused_with_field_and_reason_and_right_ones_pass() {
        let wrong = answer(json!({"uid": "1", "operation": "CREATE", "object": policy("PERMIT")}));
        assert_eq!(
            (&wrong["uid"], &wrong["allowed"]),
            (&json!("1"), &json!(false))
        );
        let message = wrong["status"]["message"].as_str().unwrap();
        assert!(message.contains("spec.action"), "{message}");
        let right = answer(json!({"uid": "2", "operation": "UPDATE", "object": policy("DENY")}));
        assert_eq!(right["allowed"], true, "{right}");
        let delete = answer(
            json!({"uid": "3", "operation": "DELETE", "object": null, "oldObject": policy("PERMIT")}),
        );
        assert_eq!(delete["allowed"], true);
    }

    #[test]
    fn kinds_without_effect_pass_with_a_warning() {
        let object = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": {"name": "a", "namespace": "n"}, "spec": {}});
        let response = answer(json!({"uid": "1", "object": object}));
        assert_eq!(response["allowed"], true);
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.contains("has no effect"), "{warning}");
    }

    #[test]
    fn only_a_dry_run_is_a_probe() {
        let probe = |dry_run| {
            answer(json!({"uid": "1", "name": PROBE, "dryRun": dry_run, "object": policy("DENY")}))
        };
        assert_eq!(probe(true)["status"]["message"], PROBED);
        assert_eq!(probe(false)["allowed"], true);
    }

    #[test]
    fn what_is_no_review_has_no_answer() {
        let deep = "[".repeat(10_000);
        for body in [
            "",
            "{}",
            "7",
            r#"{"request": {}}"#,
            r#"{"request": {"uid": 7}}"#,
            &deep,
        ] {
            assert_eq!(review(body.as_bytes()), None, "{body:.20}");
        }
    }
}
