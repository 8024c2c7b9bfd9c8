//! Matches of a route: expressions are compiled and names checked here, once.

use super::super::ConvertError;
use super::each;
use crate::route::{
    FullMatch, HeaderMatch, HttpMatch, MatchedHeader, PathKind, PathMatch, QueryMatch, TextMatch,
};
use ambit_api::route as pb;

pub(super) fn http_match(field: &str, m: pb::HttpMatch) -> Result<HttpMatch, ConvertError> {
    let sub = |name: &str| format!("{field}.{name}");
    let text_at =
        |name: &str, m: Option<pb::StringMatch>| m.map(|m| text(&sub(name), m)).transpose();
    Ok(HttpMatch {
        path: m.path.map(|p| path(&sub("path"), p)).transpose()?,
        method: text_at("method", m.method)?,
        authority: text_at("authority", m.authority)?,
        scheme: text_at("scheme", m.scheme)?,
        headers: each(&sub("headers"), m.headers, header)?,
        query: each(&sub("query"), m.query, query)?,
    })
}

fn path(field: &str, m: pb::PathMatch) -> Result<PathMatch, ConvertError> {
    use pb::path_match::Kind;
    let kind = match m.kind {
        Some(Kind::Exact(v)) => PathKind::Exact(v),
        Some(Kind::Prefix(v)) => PathKind::Prefix(v),
        Some(Kind::SegmentPrefix(v)) => PathKind::SegmentPrefix(v.trim_end_matches('/').to_owned()),
        Some(Kind::Regex(v)) => PathKind::Regex(expression(&format!("{field}.regex"), &v)?),
        None => return Err(ConvertError::new(field, "no kind is set")),
    };
    Ok(PathMatch {
        kind,
        ignore_case: m.ignore_case,
    })
}

fn text(field: &str, m: pb::StringMatch) -> Result<TextMatch, ConvertError> {
    use pb::string_match::Kind;
    Ok(match m.kind {
        Some(Kind::Exact(v)) => TextMatch::Exact(v),
        Some(Kind::Prefix(v)) => TextMatch::Prefix(v),
        Some(Kind::Regex(v)) => TextMatch::Regex(expression(&format!("{field}.regex"), &v)?),
        Some(Kind::Present(_)) => TextMatch::Present,
        None => return Err(ConvertError::new(field, "no kind is set")),
    })
}

fn header(field: &str, m: pb::HeaderMatch) -> Result<HeaderMatch, ConvertError> {
    let name = match m.name.as_str() {
        ":method" => MatchedHeader::Method,
        ":path" => MatchedHeader::Path,
        ":authority" | "host" => MatchedHeader::Authority,
        ":scheme" => MatchedHeader::Scheme,
        name => MatchedHeader::Name(super::filters::name(&format!("{field}.name"), name)?),
    };
    Ok(HeaderMatch {
        name,
        value: required(field, m.value)?,
        invert: m.invert,
    })
}

fn query(field: &str, m: pb::QueryMatch) -> Result<QueryMatch, ConvertError> {
    Ok(QueryMatch {
        value: required(field, m.value)?,
        name: m.name,
    })
}

fn required(field: &str, m: Option<pb::StringMatch>) -> Result<TextMatch, ConvertError> {
    let field = format!("{field}.value");
    let missing = || ConvertError::new(field.as_str(), "must be set");
    text(&field, m.ok_or_else(missing)?)
}

fn expression(field: &str, pattern: &str) -> Result<FullMatch, ConvertError> {
    FullMatch::new(pattern).map_err(|e| ConvertError::new(field, e.to_string()))
}
