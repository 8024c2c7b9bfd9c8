//! Blotting out what must not leave the cluster: private keys, tokens, values of environment variables
//! and command line options that are named like secrets. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What stands in its place.
const BLOT: &str = "[redacted]";
/// Parts of names whose values are secrets.
const NAMES: [&str; 6] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "APIKEY",
    "CREDENTIAL",
];

static PATTERNS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        // PEM, also with its line ends written out, as in JSON.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)-----END [A-Z ]*PRIVATE KEY-----",
        // JSON web tokens.
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"(?i:bearer) +[A-Za-z0-9._~+/=-]{16,}",
    ]
    .map(|pattern| Regex::new(pattern).expect("a fixed pattern that is tested"))
});

/// A text without keys and tokens.
pub(super) fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for pattern in PATTERNS.iter() {
        if pattern.is_match(&text) {
            text = Cow::Owned(pattern.replace_all(&text, BLOT).into_owned());
        }
    }
    text.into_owned()
}

/// An object without what no report needs: values of variables named like secrets, and bookkeeping.
pub(super) fn strip(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    variables(object);
}

fn variables(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let named = map
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(is_secret);
            if named && map.get("value").is_some_and(Value::is_string) {
                map.insert("value".to_owned(), BLOT.into());
            }
            map.values_mut().for_each(variables);
        }
        Value::Array(items) => items.iter_mut().for_each(variables),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['_', '-'], "");
    NAMES.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_tokens_are_blotted_out() {
        let pem = "a\n-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\nb";
        assert_eq!(redact(pem), "a\n[redacted]\nb");
        let json = r#"{"k": "-----BEGIN PRIVATE KEY-----\nMHc=\n-----END PRIVATE KEY-----\n"}"#;
        assert_eq!(redact(json), r#"{"k": "[redacted]\n"}"#);
        let token = "token=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJl done";
        assert_eq!(redact(token), "token=[redacted] done");
        assert_eq!(
            redact("Authorization: Bearer abcdefghijklmnop1234"),
            "Authorization: [redacted]"
        );
        let certificate = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----";
        assert_eq!(redact(certificate), certificate);
    }

    #[test]
    fn variables_named_like_secrets_lose_their_values() {
        let mut pod = json!({
            "metadata": {"managedFields": [{}]},
            "spec": {"containers": [{"env": [
                {"name": "DB_PASSWORD", "value": "x"},
                {"name": "api-key", "value": "x"},
                {"name": "LEVEL", "value": "info"},
                {"name": "AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s"}}},
            ]}]},
        });
        strip(&mut pod);
        let env = &pod["spec"]["containers"][0]["env"];
        assert_eq!(env[0]["value"], BLOT);
        assert_eq!(env[1]["value"], BLOT);
        assert_eq!(env[2]["value"], "info");
        assert!(env[3].get("value").is_none());
        assert!(pod["metadata"].get("managedFields").is_none());
    }
}
