//! Which route takes a request: the first whose matches hold.
//! In: a router and the request's line and headers. Out: the route and how its path matched, which
//! rewrites and redirects need.
//! Paths are compared as sent, without the query; nothing is decoded or normalised.

use ambit_model::route::{
    HeaderMatch, HttpMatch, HttpRoute, MatchedHeader, PathKind, PathMatch, QueryMatch, Router,
    TextMatch,
};
use http::{HeaderMap, Method};
use std::borrow::Cow;

/// What routes may look at.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `:authority` or `Host`, with its port if it was sent.
    pub authority: &'a str,
    /// Path as sent, without the query.
    pub path: &'a str,
    /// Query as sent, without `?`.
    pub query: Option<&'a str>,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// The route taken.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'r> {
    /// The route.
    pub route: &'r HttpRoute,
    /// Its index in the router.
    pub index: usize,
    /// How the path matched.
    pub path: PathMatched,
}

/// How a path matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMatched {
    /// All of it: an exact match or an expression.
    Whole,
    /// Its first bytes, this many.
    Prefix(usize),
}

/// The first route that takes the request; none is 404.
pub fn find<'r>(router: &'r Router, request: &RequestView<'_>) -> Option<Matched<'r>> {
    router.http.iter().enumerate().find_map(|(index, route)| {
        let path = takes(route, request)?;
        Some(Matched { route, index, path })
    })
}

fn takes(route: &HttpRoute, request: &RequestView<'_>) -> Option<PathMatched> {
    if route.matches.is_empty() {
        return Some(everything(request));
    }
    route.matches.iter().find_map(|m| holds(m, request))
}

/// A match that says nothing of the path is a match of the prefix `/`.
fn everything(request: &RequestView<'_>) -> PathMatched {
    PathMatched::Prefix(usize::from(request.path.starts_with('/')))
}

fn holds(m: &HttpMatch, request: &RequestView<'_>) -> Option<PathMatched> {
    let text = |wanted: &Option<TextMatch>, value: &str| {
        wanted.as_ref().is_none_or(|w| w.matches(value.as_bytes()))
    };
    let line = text(&m.method, request.method.as_str())
        && text(&m.authority, request.authority)
        && text(&m.scheme, request.scheme);
    if !line {
        return None;
    }
    let matched = match &m.path {
        Some(wanted) => path(wanted, request.path)?,
        None => everything(request),
    };
    let rest = m.headers.iter().all(|h| header(h, request))
        && m.query.iter().all(|q| query(q, request.query));
    rest.then_some(matched)
}

fn path(wanted: &PathMatch, given: &str) -> Option<PathMatched> {
    let begins = |prefix: &str| {
        given.as_bytes().get(..prefix.len()).is_some_and(|start| {
            if wanted.ignore_case {
                start.eq_ignore_ascii_case(prefix.as_bytes())
            } else {
                start == prefix.as_bytes()
            }
        })
    };
    match &wanted.kind {
        PathKind::Exact(exact) => {
            (exact.len() == given.len() && begins(exact)).then_some(PathMatched::Whole)
        }
        PathKind::Prefix(prefix) => begins(prefix).then_some(PathMatched::Prefix(prefix.len())),
        PathKind::SegmentPrefix(prefix) => {
            let ends_segment = matches!(given.as_bytes().get(prefix.len()), None | Some(b'/'));
            (begins(prefix) && ends_segment).then_some(PathMatched::Prefix(prefix.len()))
        }
        PathKind::Regex(expression) => expression
            .matches(given.as_bytes())
            .then_some(PathMatched::Whole),
    }
}

fn header(wanted: &HeaderMatch, request: &RequestView<'_>) -> bool {
    let given = match &wanted.name {
        MatchedHeader::Name(name) => joined(request.headers, name),
        MatchedHeader::Method => Some(Cow::Borrowed(request.method.as_str().as_bytes())),
        MatchedHeader::Authority => Some(Cow::Borrowed(request.authority.as_bytes())),
        MatchedHeader::Scheme => Some(Cow::Borrowed(request.scheme.as_bytes())),
        MatchedHeader::Path => Some(match request.query {
            None => Cow::Borrowed(request.path.as_bytes()),
            Some(query) => Cow::Owned(format!("{}?{query}", request.path).into_bytes()),
        }),
    };
    let matched = given.is_some_and(|value| wanted.value.matches(&value));
    matched != wanted.invert
}

/// All values of a header as one (RFC 9110 section 5.3).
fn joined<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<Cow<'h, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let mut all = Cow::Borrowed(first.as_bytes());
    for value in values {
        let all = all.to_mut();
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    Some(all)
}

fn query(wanted: &QueryMatch, given: Option<&str>) -> bool {
    let pairs = given.unwrap_or_default().split('&');
    let mut pairs = pairs
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    let first = pairs.find(|(name, _)| *name == wanted.name);
    first.is_some_and(|(_, value)| wanted.value.matches(value.as_bytes()))
}

#[cfg(test)]
mod tests;
