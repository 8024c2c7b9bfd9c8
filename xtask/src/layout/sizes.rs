//! The longest files and functions.
//! In: sources as rustfmt leaves them. Out: lines to print. Code that is only there for tests is not
//! counted; a function ends at the first line that is its own indentation and `}`.

use std::collections::BTreeSet;

use super::tree::Source;
use crate::workspace;

/// Files longer than this deserve a second look.
const FILE: usize = 400;
/// Functions longer than this do too.
const FUNCTION: usize = 60;

/// The `n` longest files over the limit, then the `n` longest functions.
pub(super) fn longest(sources: &[Source], n: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for source in sources.iter().filter(|source| !source.test) {
        if !seen.insert(&source.path) {
            continue;
        }
        let place = workspace::place(&source.path);
        let lines = shipped(&source.text);
        files.push((lines.len(), place.clone()));
        functions.extend(
            lengths(&lines)
                .into_iter()
                .map(|(name, length)| (length, format!("{place} {name}"))),
        );
    }
    let mut out = top(files, FILE, n, "long file");
    out.extend(top(functions, FUNCTION, n, "long function"));
    out
}

fn top(mut found: Vec<(usize, String)>, limit: usize, n: usize, what: &str) -> Vec<String> {
    found.retain(|(length, _)| *length > limit);
    found.sort_by(|a, b| b.cmp(a));
    found.truncate(n);
    found
        .into_iter()
        .map(|(length, name)| format!("{what}: {length} lines, {name}"))
        .collect()
}

/// The lines outside top-level test modules.
fn shipped(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        let next_opens = all
            .peek()
            .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && next_opens {
            inside = true;
        }
        if !inside {
            lines.push(line);
        } else if line == "}" {
            inside = false;
        }
    }
    lines
}

fn lengths(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| *line == close);
        let declared_only = lines[start..].iter().position(|line| line.ends_with(';'));
        if let Some(end) = end.filter(|_| declared_only != Some(0)) {
            found.push((name.to_owned(), end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let words = before.split_whitespace();
    let only_qualifiers = words.into_iter().all(|word| {
        word.starts_with("pub")
            || ["async", "const", "unsafe", "extern", "\"C\""].contains(&word)
            || word.ends_with(')')
    });
    let end = after.find(['(', '<'])?;
    (only_qualifiers && !before.contains("//")).then(|| &after[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_to_its_own_brace_and_tests_are_not_counted() {
        let text = "fn a() {\n    if x {\n    }\n}\nimpl B {\n    pub(crate) async fn c(\n    ) {\n    }\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn d() {\n    }\n}\n";
        let lines = shipped(text);
        assert_eq!(lines.len(), 9);
        assert_eq!(lengths(&lines), [("a".to_owned(), 4), ("c".to_owned(), 3)]);
    }
}
