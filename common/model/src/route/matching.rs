//! What a request must look like to take a route.
//! Compiled and validated by `convert::route`; evaluated by `ambit-routing::http::matching`.

use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};
use std::fmt;

/// Fields are ANDed; absent ones match anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "field names are those of the proto, which documents them"
)]
pub struct HttpMatch {
    pub path: Option<PathMatch>,
    pub method: Option<TextMatch>,
    pub authority: Option<TextMatch>,
    pub scheme: Option<TextMatch>,
    pub headers: Vec<HeaderMatch>,
    pub query: Vec<QueryMatch>,
}

/// The path, without the query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathMatch {
    /// How it is compared.
    pub kind: PathKind,
    /// ASCII letters of either case are equal; not for expressions.
    pub ignore_case: bool,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PathKind {
    /// Equal.
    Exact(String),
    /// Starts with, by characters.
    Prefix(String),
    /// Starts with, by whole segments; kept without a trailing slash.
    SegmentPrefix(String),
    /// All of it matches.
    Regex(FullMatch),
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TextMatch {
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// All of it matches.
    Regex(FullMatch),
    /// It is there.
    Present,
}

impl TextMatch {
    /// Whether a value that is there matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => value == wanted.as_bytes(),
            Self::Prefix(wanted) => value.starts_with(wanted.as_bytes()),
            Self::Regex(expression) => expression.matches(value),
            Self::Present => true,
        }
    }
}

/// A header.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderMatch {
    /// Which.
    pub name: MatchedHeader,
    /// Compared with its values, joined by a comma.
    pub value: TextMatch,
    /// The result is turned round; a missing header then matches.
    pub invert: bool,
}

/// A header, or a part of the request line written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchedHeader {
    /// A header.
    Name(HeaderName),
    /// `:method`.
    Method,
    /// `:path`, with the query.
    Path,
    /// `:authority` and `host`.
    Authority,
    /// `:scheme`.
    Scheme,
}

impl Serialize for MatchedHeader {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(match self {
            Self::Name(name) => name.as_str(),
            Self::Method => ":method",
            Self::Path => ":path",
            Self::Authority => ":authority",
            Self::Scheme => ":scheme",
        })
    }
}

/// A query parameter; of several with one name the first counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryMatch {
    /// As written in the URI, not decoded.
    pub name: String,
    /// Compared with the value as written.
    pub value: TextMatch,
}

/// An expression that has to match all of a text (RE2 syntax without its rarities).
#[derive(Clone)]
pub struct FullMatch {
    pattern: String,
    compiled: Regex,
}

/// Compiled size at which an expression is refused.
pub(crate) const EXPRESSION_BYTES: usize = 1 << 20;

impl FullMatch {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// Syntax, or an expression that would be too large.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        // A pattern must be sound by itself: `a)(b` must not become sound by the group around it.
        RegexBuilder::new(pattern)
            .size_limit(EXPRESSION_BYTES)
            .build()?;
        let compiled = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .size_limit(EXPRESSION_BYTES)
            .build()?;
        Ok(Self {
            pattern: pattern.to_owned(),
            compiled,
        })
    }

    /// Whether all of `value` matches. Linear in its length.
    pub fn matches(&self, value: &[u8]) -> bool {
        self.compiled.is_match(value)
    }

    /// As given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl PartialEq for FullMatch {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl fmt::Debug for FullMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.pattern)
    }
}

impl Serialize for FullMatch {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.pattern)
    }
}
