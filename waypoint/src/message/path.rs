//! One path for one resource: what routes, policies and upstreams see.
//! In: a path as received. Out: the path without dot segments, with `\` as `/` and with unreserved
//! characters unescaped; what cannot be told apart safely is refused. Slashes are not merged and
//! other escapes stay. Pure.
//! Spec: RFC 3986 section 6.2.2; Istio `pathNormalization: BASE` (Envoy `normalize_path`).

use http::uri::PathAndQuery;
use std::borrow::Cow;
use thiserror::Error;

/// Why a path cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum BadPath {
    /// `%00`: a string ends there for many.
    #[error("an escaped NUL")]
    Nul,
    /// A broken escape that becomes a whole one once its neighbours are unescaped.
    #[error("an escape inside an escape")]
    Nested,
}

/// The normalised path and query; the query stays as it is.
pub(crate) fn normalized(target: &PathAndQuery) -> Result<PathAndQuery, BadPath> {
    match normal(target.path())? {
        Cow::Borrowed(_) => Ok(target.clone()),
        Cow::Owned(mut path) => {
            if let Some(query) = target.query() {
                path.push('?');
                path.push_str(query);
            }
            // Everything in it was in a valid path, or is unreserved.
            path.parse().map_err(|_| BadPath::Nested)
        }
    }
}

fn normal(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let plain = !path.contains(['%', '\\']) && !path.contains("/.");
    // `*` of OPTIONS is no path.
    if plain || !path.starts_with('/') {
        return Ok(Cow::Borrowed(path));
    }
    let once = without_dots(&unescaped(path)?);
    let twice = without_dots(&unescaped(&once)?);
    if once == twice {
        Ok(Cow::Owned(once))
    } else {
        Err(BadPath::Nested)
    }
}

/// `\` becomes `/`, escaped unreserved characters themselves.
fn unescaped(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        out.push_str(&rest[..at]);
        let escape = rest
            .get(at + 1..at + 3)
            .filter(|_| rest[at..].starts_with('%'));
        let byte = escape
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let taken = match byte {
            Some(0) => return Err(BadPath::Nul),
            Some(byte) if is_unreserved(byte) => {
                out.push(char::from(byte));
                3
            }
            _ if rest[at..].starts_with('\\') => {
                out.push('/');
                1
            }
            _ => {
                out.push('%');
                1
            }
        };
        rest = &rest[at + taken..];
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 5.2.4, for a path that begins with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    let length = path.len();
    kept.iter()
        .fold(String::with_capacity(length), |out, s| out + "/" + s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_istios_base_normalisation_gives_them() {
        for (given, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a/b/../../../c", "/c"),
            ("/...", "/..."),
            ("/.hidden", "/.hidden"),
            ("/a..b/c", "/a..b/c"),
            // Slashes are not merged.
            ("//a//b/", "//a//b/"),
            ("/a//../b", "/a/b"),
            ("//..//b", "//b"),
            // Backslashes are slashes.
            ("/a\\b", "/a/b"),
            ("/a\\..\\b", "/b"),
            ("\\da", "\\da"),
            ("/\\da", "//da"),
            // Escaped dots are dots, escaped letters letters; other escapes stay, in their case.
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%61dmin", "/admin"),
            ("/%7Euser/%5f", "/~user/_"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2f..%2fb", "/a%2f..%2fb"),
            ("/a%5Cb", "/a%5Cb"),
            ("/%252e%252e/b", "/%252e%252e/b"),
            ("/%E4%BD%A0", "/%E4%BD%A0"),
            // What is no escape stays.
            ("/100%", "/100%"),
            ("/%zz/%4", "/%zz/%4"),
            ("/a%", "/a%"),
        ] {
            assert_eq!(normal(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_means_two_things_is_refused() {
        for (given, expected) in [
            ("/a%00b", BadPath::Nul),
            ("/%2%65%2%65/admin", BadPath::Nested),
            ("/%%32%65", BadPath::Nested),
        ] {
            assert_eq!(normal(given), Err(expected), "{given}");
        }
    }

    #[test]
    fn the_query_is_left_alone() {
        let target = |text: &'static str| PathAndQuery::from_static(text);
        for (given, expected) in [
            ("/a/../b?x=/../%61\\", "/b?x=/../%61\\"),
            ("/a?/../b", "/a?/../b"),
            ("/a/.?", "/a/?"),
        ] {
            assert_eq!(normalized(&target(given)).unwrap().as_str(), expected);
        }
    }
}
