//! Text to documents: splitting a YAML stream, parsing each part by itself under limits, unfolding
//! lists, and finding out which object a document means even when it is wrong. No IO.

use ambit_crds::{Code, FieldError, Kind, Object, ObjectKey, ObjectRef, Severity, validate};
use serde_json::Value;
use std::sync::Arc;

/// Documents read from one file; more is a mistake or an attack.
const MAX_DOCUMENTS: usize = 20_000;
/// The reader recurses; in a debug build a level takes about 20 KiB of a thread's 2 MiB stack.
const MAX_NESTING: usize = 48;

/// One document, or one item of a `List`.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// Position in the file, from 0.
    pub(super) index: usize,
    /// First line, from 1.
    pub(super) line: usize,
    pub(super) content: Content,
}

/// What a document turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// An object Ambit reads, with warnings.
    Good {
        key: ObjectKey,
        value: Arc<Value>,
        object: Arc<Object>,
        warnings: Vec<FieldError>,
    },
    /// An object of a kind Ambit does not read; the warning is there when a mesh was meant to act.
    Ignored(Option<FieldError>),
    /// Not usable. The key is there when the document says which object it means.
    Bad {
        key: Option<ObjectKey>,
        errors: Vec<FieldError>,
    },
}

/// Reads a whole file. A text of comments only gives no document.
pub(super) fn read(text: &str) -> Vec<Document> {
    let mut out = Vec::new();
    for (index, part) in split(text).into_iter().enumerate() {
        let document = |content| Document {
            index,
            line: part.line,
            content,
        };
        if index >= MAX_DOCUMENTS {
            let reason =
                format!("more than {MAX_DOCUMENTS} documents in a file; the rest is not read");
            out.push(document(bad_document(reason)));
            break;
        }
        match parse_yaml(part.text) {
            Err(reason) => out.push(document(bad_document(reason))),
            Ok(Value::Null) => {}
            Ok(value) => out.extend(unfold(value).into_iter().map(|v| document(judge(v)))),
        }
    }
    out
}

/// Parses one YAML document under limits against deep nesting and alias bombs.
pub(crate) fn parse_yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_NESTING,
            flow_nesting_limit: MAX_NESTING,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Value>(text, options)
        .map_err(|error| format!("not YAML: {}", one_line(&error.to_string())))
}

/// A part of a stream.
struct Part<'a> {
    line: usize,
    text: &'a str,
}

/// Splits at `---` lines. Inside a document such a line at column 0 is impossible (YAML 1.2 section
/// 9.1.2), so one broken document cannot swallow the next. Parts without content are dropped.
fn split(text: &str) -> Vec<Part<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parts = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let body = line.trim_end_matches(['\n', '\r']);
        let marker = body
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marker {
            parts.push(Part {
                line: start_line,
                text: &text[start..at],
            });
            start = at;
            start_line = number + 1;
        }
        at += line.len();
    }
    parts.push(Part {
        line: start_line,
        text: &text[start..],
    });
    parts.retain(|part| part.text.lines().any(has_content));
    parts
}

fn has_content(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim();
    !(line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "...")
}

fn unfold(value: Value) -> Vec<Value> {
    let is_list = value
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match value {
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

/// Reads one object and checks it by itself.
pub(crate) fn judge(value: Value) -> Content {
    let key = identify(&value);
    let object = match Object::parse(value.clone()) {
        Ok(object) => object,
        Err(errors) => return Content::Bad { key, errors },
    };
    if let Object::Other(other) = &object {
        return Content::Ignored(other.warning());
    }
    let found = validate(&object);
    if found.iter().any(|e| e.severity == Severity::Error) {
        return Content::Bad { key, errors: found };
    }
    Content::Good {
        key: object.key(),
        value: Arc::new(value),
        object: Arc::new(object),
        warnings: found,
    }
}

/// Which object a document means, judged only by what names it.
pub(crate) fn identify(value: &Value) -> Option<ObjectKey> {
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
    let api_version = text(value, "apiVersion")?;
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = Kind::of(group, &text(value, "kind")?);
    let meta = value.get("metadata")?;
    let name = text(meta, "name").filter(|name| !name.is_empty())?;
    let namespace = match meta.get("namespace") {
        None | Some(Value::Null) => "default",
        Some(namespace) => match namespace.as_str()? {
            "" => "default",
            namespace => namespace,
        },
    };
    Some(ObjectKey::new(kind, namespace, &name))
}

/// A document that cannot even be read as YAML.
pub(super) fn bad_document(reason: String) -> Content {
    Content::Bad {
        key: None,
        errors: vec![document_error(reason)],
    }
}

/// An error about a file or document as a whole.
pub(super) fn document_error(reason: String) -> FieldError {
    FieldError {
        object: ObjectRef::default(),
        path: String::new(),
        reason,
        code: Code::Document,
        severity: Severity::Error,
    }
}

fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<String> {
        read(text)
            .into_iter()
            .map(|d| match d.content {
                Content::Good { key, .. } => format!("{}@{} {key}", d.index, d.line),
                Content::Ignored(warning) => {
                    format!("{}@{} ignored {}", d.index, d.line, warning.is_some())
                }
                Content::Bad { key, errors } => format!(
                    "{}@{} bad {} {}",
                    d.index,
                    d.line,
                    key.map(|k| k.to_string()).unwrap_or_default(),
                    errors[0].code
                ),
            })
            .collect()
    }

    #[test]
    fn one_broken_document_does_not_swallow_the_next() {
        let text = "# head\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n{broken\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\n# nothing\n";
        assert_eq!(
            kinds(text),
            ["0@2 Namespace a", "1@6 bad  AMB0002", "2@8 Namespace b"]
        );
    }

    #[test]
    fn lists_and_foreign_kinds() {
        let text = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}, {apiVersion: v1, kind: Secret, metadata: {name: b}}, {apiVersion: networking.istio.io/v1, kind: EnvoyFilter, metadata: {name: c}}]}";
        assert_eq!(
            kinds(text),
            ["0@1 Namespace a", "0@1 ignored false", "0@1 ignored true"]
        );
    }

    #[test]
    fn wrong_objects_keep_their_name() {
        let text =
            "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}, spec: {ports: 7}}";
        assert_eq!(kinds(text), ["0@1 bad Service b/a IST0106"]);
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "[".repeat(100_000);
        assert_eq!(kinds(&deep), ["0@1 bad  AMB0002"]);
        let indent: String = (0..5_000)
            .map(|i| format!("{}a:\n", " ".repeat(i)))
            .collect();
        assert_eq!(kinds(&indent), ["0@1 bad  AMB0002"]);
        let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let before = format!("*a{},", i - 1).repeat(9);
            laughs.push_str(&format!("a{i}: &a{i} [{}]\n", before.trim_end_matches(',')));
        }
        assert_eq!(kinds(&laughs), ["0@1 bad  AMB0002"]);
        for garbage in [
            "\0\0\0",
            "\u{feff}",
            "---\n---",
            "%YAML 9\n---\n",
            "- - - - :",
            "&a *a",
        ] {
            let _ = kinds(garbage);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s)[\\-a-z:{}\\[\\],&*!|>%#'\"\n ]{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn any_name_is_safe_or_refused(name in ".{0,40}", namespace in ".{0,40}") {
            let value = serde_json::json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace},
            });
            if let Content::Good { key, .. } = judge(value) {
                proptest::prop_assert!(!key.name.contains('/') && !key.name.starts_with('.'));
                proptest::prop_assert!(!key.namespace.contains('/') && !key.namespace.contains('.'));
            }
        }
    }
}
