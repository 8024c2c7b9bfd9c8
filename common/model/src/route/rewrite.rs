//! What a route changes on a request or a response.
//! Validated by `convert::route`; applied by `ambit-routing::http`.

use super::matching::EXPRESSION_BYTES;
use super::{status, text};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, StatusCode};
use regex::{Regex, RegexBuilder};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use std::fmt;
use thiserror::Error;

/// Header changes; removals come first, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeaderOps {
    /// Replaces the authority (`set` of `host` or `:authority`).
    #[serde(serialize_with = "optional")]
    pub authority: Option<Authority>,
    /// Replaces all values.
    #[serde(serialize_with = "pairs")]
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a value.
    #[serde(serialize_with = "pairs")]
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removes all values.
    #[serde(serialize_with = "names")]
    pub remove: Vec<HeaderName>,
}

/// Changes of where a request goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rewrite {
    /// `None`: kept.
    pub path: Option<PathRewrite>,
    /// `None`: kept.
    #[serde(serialize_with = "optional")]
    pub authority: Option<Authority>,
}

/// A new path; the query is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PathRewrite {
    /// Replaces what matched by prefix, else the whole path.
    PrefixOrFull(String),
    /// Replaces the whole path.
    Full(String),
    /// Replaces the segments that matched.
    SegmentPrefix(String),
    /// Replaces every match of an expression.
    Regex(Substitution),
}

/// An expression and what replaces its matches (RE2 `GlobalReplace`).
#[derive(Clone)]
pub struct Substitution {
    pattern: Regex,
    parts: Vec<SubstitutionPart>,
}

/// A piece of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubstitutionPart {
    /// Itself.
    Text(String),
    /// What the group matched; group 0 is everything.
    Group(usize),
}

/// Why a [`Substitution`] is refused.
#[derive(Debug, Error)]
pub enum InvalidSubstitution {
    /// The expression does not compile.
    #[error("the expression does not compile: {0}")]
    Expression(regex::Error),
    /// A group is named that the expression does not have.
    #[error("there is no group \\{group}, the expression has {groups}")]
    Group {
        /// As named.
        group: usize,
        /// How many there are.
        groups: usize,
    },
    /// A backslash without digit or backslash.
    #[error("a backslash must be followed by a digit or a backslash")]
    Escape,
}

impl Substitution {
    /// Compiles `pattern`; in `replacement`, `\1` is a group and `\\` a backslash.
    ///
    /// # Errors
    /// See [`InvalidSubstitution`].
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, InvalidSubstitution> {
        let pattern = RegexBuilder::new(pattern)
            .size_limit(EXPRESSION_BYTES)
            .build()
            .map_err(InvalidSubstitution::Expression)?;
        let groups = pattern.captures_len() - 1;
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = replacement.chars();
        while let Some(c) = characters.next() {
            if c != '\\' {
                literal.push(c);
                continue;
            }
            match characters.next() {
                Some('\\') => literal.push('\\'),
                Some(digit @ '0'..='9') => {
                    let group = digit as usize - '0' as usize;
                    if group > groups {
                        return Err(InvalidSubstitution::Group { group, groups });
                    }
                    if !literal.is_empty() {
                        parts.push(SubstitutionPart::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(SubstitutionPart::Group(group));
                }
                _ => return Err(InvalidSubstitution::Escape),
            }
        }
        if !literal.is_empty() {
            parts.push(SubstitutionPart::Text(literal));
        }
        Ok(Self { pattern, parts })
    }

    /// `value` with every match replaced.
    pub fn apply(&self, value: &str) -> String {
        let replace = |captures: &regex::Captures<'_>| {
            let mut out = String::new();
            for part in &self.parts {
                out.push_str(match part {
                    SubstitutionPart::Text(text) => text,
                    SubstitutionPart::Group(i) => captures.get(*i).map_or("", |m| m.as_str()),
                });
            }
            out
        };
        self.pattern.replace_all(value, replace).into_owned()
    }
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.parts == other.parts
    }
}

impl fmt::Debug for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/ → {:?}", self.pattern.as_str(), self.parts)
    }
}

impl Serialize for Substitution {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{self:?}"))
    }
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Redirect {
    /// `None`: kept.
    pub path: Option<PathRewrite>,
    /// Host without port; `None`: kept.
    pub host: Option<String>,
    /// `http` or `https`; `None`: kept.
    pub scheme: Option<String>,
    /// Which port is written.
    pub port: RedirectPort,
    /// 301, 302, 303, 307 or 308.
    #[serde(serialize_with = "status")]
    pub status: StatusCode,
}

/// Which port a redirect names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum RedirectPort {
    /// The request's while scheme and host are kept, else the scheme's own.
    #[default]
    Kept,
    /// The one of the scheme.
    ProtocolDefault,
    /// The one the request came in on.
    Request,
    /// This one.
    Fixed(u16),
}

fn optional<S: Serializer>(value: &Option<Authority>, s: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => text(value, s),
        None => s.serialize_none(),
    }
}

fn names<S: Serializer>(names: &[HeaderName], s: S) -> Result<S::Ok, S::Error> {
    let mut list = s.serialize_seq(Some(names.len()))?;
    for name in names {
        list.serialize_element(name.as_str())?;
    }
    list.end()
}

fn pairs<S: Serializer>(pairs: &[(HeaderName, HeaderValue)], s: S) -> Result<S::Ok, S::Error> {
    let mut list = s.serialize_seq(Some(pairs.len()))?;
    for (name, value) in pairs {
        let value = String::from_utf8_lossy(value.as_bytes());
        list.serialize_element(&(name.as_str(), value))?;
    }
    list.end()
}
