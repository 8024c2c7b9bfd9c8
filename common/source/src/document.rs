//! A file's bytes → its documents. Pure, total: hostile bytes give problems, never a panic.
//! Documents are split at `---` lines first, so that one broken document costs only itself.
//! `kind: List` is taken apart.

use serde_json::Value;

/// Largest file read, in bytes.
pub const LARGEST_FILE: usize = 16 << 20;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Place in the file, from 1.
    pub index: usize,
    /// Its content, or why it is not YAML.
    pub content: Result<Value, String>,
}

/// Splits and parses a file. Empty documents are left out.
pub fn parse(bytes: &[u8]) -> Vec<Document> {
    let whole = |reason: String| {
        vec![Document {
            index: 1,
            content: Err(reason),
        }]
    };
    if bytes.len() > LARGEST_FILE {
        return whole(format!("larger than {LARGEST_FILE} bytes"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return whole(format!("not UTF-8 at byte {}", e.valid_up_to())),
    };
    let mut out = Vec::new();
    for (i, part) in split(text).into_iter().enumerate() {
        let index = i + 1;
        match serde_saphyr::from_str::<Value>(part) {
            Ok(Value::Null) => {}
            Ok(value) => items(value, &mut |value| {
                out.push(Document {
                    index,
                    content: Ok(value),
                });
            }),
            // A part of nothing but comments is no document.
            Err(_) if is_blank(part) => {}
            Err(e) => out.push(Document {
                index,
                content: Err(first_line(&e.to_string())),
            }),
        }
    }
    out
}

fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- ") {
            parts.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    parts.push(&text[start..]);
    parts.retain(|p| !is_blank(p));
    parts
}

fn is_blank(part: &str) -> bool {
    part.lines()
        .map(str::trim)
        .all(|l| l.is_empty() || l.starts_with('#') || l == "...")
}

fn items(value: Value, each: &mut impl FnMut(Value)) {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List");
    match value {
        Value::Object(mut map) if is_list => {
            if let Some(Value::Array(list)) = map.remove("items") {
                for item in list {
                    each(item);
                }
            }
        }
        other => each(other),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("not YAML").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_document_costs_only_itself() {
        let docs = parse(b"# c\n---\na: 1\n---\nb: [\n---\nkind: List\nitems: [{c: 1}, {c: 2}]\n---\n");
        let shape: Vec<_> = docs.iter().map(|d| (d.index, d.content.is_ok())).collect();
        assert_eq!(shape, [(1, true), (2, false), (3, true), (3, true)]);
    }

    #[test]
    fn empty_files_have_no_documents() {
        for text in ["", "\n", "# only\n# comments\n", "---\n---\n", "---\n# x\n"] {
            assert_eq!(parse(text.as_bytes()), [], "{text:?}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(parse(bomb.as_bytes())[0].content.is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(parse(&[0xff, 0xfe, 0x00])[0].content.is_err());
    }
}
