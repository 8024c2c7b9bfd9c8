//! `http[].match[]`.

use super::super::parts;
use ambit_api::route as pb;
use ambit_crds::istio::{HttpMatch, StringMatch};
use pb::string_match::{Kind, Present};
use std::collections::BTreeMap;

/// One entry. The port was looked at before.
pub(super) fn entry(m: &HttpMatch) -> pb::HttpMatch {
    pb::HttpMatch {
        path: m.uri.as_ref().and_then(|uri| path(uri, m.ignore_uri_case)),
        method: m.method.as_ref().and_then(plain),
        authority: m.authority.as_ref().and_then(plain),
        scheme: m.scheme.as_ref().and_then(plain),
        headers: headers(&m.headers, false)
            .chain(headers(&m.without_headers, true))
            .collect(),
        query: m
            .query_params
            .iter()
            .map(|(name, value)| pb::QueryMatch {
                name: name.clone(),
                value: Some(or_present(value)),
            })
            .collect(),
    }
}

fn path(uri: &StringMatch, ignore_case: bool) -> Option<pb::PathMatch> {
    use pb::path_match::Kind;
    let kind = match (&uri.exact, &uri.prefix, &uri.regex) {
        (Some(exact), _, _) => Kind::Exact(exact.clone()),
        // Every path starts with it.
        (_, Some(prefix), _) if prefix == "/" => return None,
        (_, Some(prefix), _) => Kind::Prefix(prefix.clone()),
        (_, _, Some(regex)) => Kind::Regex(regex.clone()),
        _ => return None,
    };
    // `ignoreUriCase` is for exact and prefix only; a regex says `(?i)` itself.
    let ignore_case = ignore_case && !matches!(kind, Kind::Regex(_));
    Some(pb::PathMatch {
        kind: Some(kind),
        ignore_case,
    })
}

fn headers(
    all: &BTreeMap<String, StringMatch>,
    invert: bool,
) -> impl Iterator<Item = pb::HeaderMatch> {
    all.iter().map(move |(name, value)| pb::HeaderMatch {
        name: name.to_ascii_lowercase(),
        value: Some(or_present(value)),
        invert,
    })
}

fn plain(m: &StringMatch) -> Option<pb::StringMatch> {
    let kind = match (&m.exact, &m.prefix, &m.regex) {
        (Some(exact), _, _) => Kind::Exact(exact.clone()),
        (_, Some(prefix), _) => Kind::Prefix(prefix.clone()),
        (_, _, Some(regex)) => Kind::Regex(regex.clone()),
        _ => return None,
    };
    Some(parts::string(kind))
}

/// Nothing said, or the regex `*`, means that it is there.
fn or_present(m: &StringMatch) -> pb::StringMatch {
    match plain(m) {
        Some(pb::StringMatch {
            kind: Some(Kind::Regex(regex)),
        }) if regex == "*" => parts::string(Kind::Present(Present {})),
        Some(given) => given,
        None => parts::string(Kind::Present(Present {})),
    }
}
