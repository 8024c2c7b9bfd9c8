//! Matches and filters of an HTTPRoute rule.

use super::super::parts;
use ambit_api::route as pb;
use ambit_crds::gateway::{
    Filter, FilterType, HeaderFilter, HeaderMatchType, NameMatch, PathMatchType, PathModifierType,
    RequestMirror, RequestRedirect, RouteMatch, UrlRewrite,
};
use pb::string_match::Kind;

/// A match; `None` when it takes everything.
pub(super) fn matches(m: &RouteMatch) -> Option<pb::HttpMatch> {
    let converted = pb::HttpMatch {
        path: path(m),
        method: m
            .method
            .as_ref()
            .map(|name| parts::string(Kind::Exact(name.clone()))),
        headers: m
            .headers
            .iter()
            .map(|header| pb::HeaderMatch {
                name: header.name.to_ascii_lowercase(),
                value: Some(value(header)),
                invert: false,
            })
            .collect(),
        query: m
            .query_params
            .iter()
            .map(|query| pb::QueryMatch {
                name: query.name.clone(),
                value: Some(value(query)),
            })
            .collect(),
        ..Default::default()
    };
    (converted != pb::HttpMatch::default()).then_some(converted)
}

fn path(m: &RouteMatch) -> Option<pb::PathMatch> {
    use pb::path_match::Kind;
    let path = m.path.as_ref()?;
    let value = path.value.as_deref().unwrap_or("/").to_owned();
    let kind = match path.kind {
        PathMatchType::Exact => Kind::Exact(value),
        PathMatchType::PathPrefix if value == "/" => return None,
        PathMatchType::PathPrefix => Kind::SegmentPrefix(value),
        PathMatchType::RegularExpression => Kind::Regex(value),
    };
    Some(pb::PathMatch {
        kind: Some(kind),
        ignore_case: false,
    })
}

fn value(m: &NameMatch) -> pb::StringMatch {
    parts::string(match m.kind {
        HeaderMatchType::Exact => Kind::Exact(m.value.clone()),
        HeaderMatchType::RegularExpression => Kind::Regex(m.value.clone()),
    })
}

/// What a list of filters does.
#[derive(Default)]
pub(super) struct Applied<'a> {
    pub(super) request_headers: Option<pb::HeaderOps>,
    pub(super) response_headers: Option<pb::HeaderOps>,
    pub(super) redirect: Option<pb::Redirect>,
    pub(super) rewrite: Option<pb::Rewrite>,
    pub(super) mirrors: Vec<&'a RequestMirror>,
}

impl<'a> Applied<'a> {
    pub(super) fn of(filters: &'a [Filter]) -> Self {
        let mut applied = Self::default();
        for filter in filters {
            match filter.kind {
                Some(FilterType::RequestHeaderModifier) => {
                    applied.request_headers = filter.request_header_modifier.as_ref().map(ops);
                }
                Some(FilterType::ResponseHeaderModifier) => {
                    applied.response_headers = filter.response_header_modifier.as_ref().map(ops);
                }
                Some(FilterType::RequestRedirect) => {
                    applied.redirect = filter.request_redirect.as_ref().map(redirect);
                }
                Some(FilterType::UrlRewrite) => {
                    applied.rewrite = filter.url_rewrite.as_ref().map(rewrite);
                }
                Some(FilterType::RequestMirror) => {
                    applied.mirrors.extend(filter.request_mirror.as_ref());
                }
                // Refused when the object was read.
                Some(FilterType::Cors | FilterType::ExtensionRef | FilterType::ExternalAuth)
                | None => {}
            }
        }
        applied
    }
}

fn ops(filter: &HeaderFilter) -> pb::HeaderOps {
    let headers = |list: &[ambit_crds::gateway::HttpHeader]| {
        list.iter()
            .map(|h| pb::Header {
                name: h.name.to_ascii_lowercase(),
                value: h.value.clone(),
            })
            .collect()
    };
    pb::HeaderOps {
        set: headers(&filter.set),
        add: headers(&filter.add),
        remove: filter
            .remove
            .iter()
            .map(|n| n.to_ascii_lowercase())
            .collect(),
    }
}

fn redirect(filter: &RequestRedirect) -> pb::Redirect {
    use pb::redirect::{DerivePort, Path, PortFrom};
    let path = filter.path.as_ref().and_then(|path| match path.kind? {
        PathModifierType::ReplaceFullPath => path.replace_full_path.clone().map(Path::Full),
        PathModifierType::ReplacePrefixMatch => {
            path.replace_prefix_match.clone().map(Path::SegmentPrefix)
        }
    });
    // Without a port the scheme given decides, and without that the request's port stays.
    let port = match (filter.port, &filter.scheme) {
        (Some(port), _) => PortFrom::Port(port.into()),
        (None, Some(_)) => PortFrom::DerivePort(DerivePort::FromProtocolDefault.into()),
        (None, None) => PortFrom::DerivePort(DerivePort::FromRequestPort.into()),
    };
    pb::Redirect {
        path,
        authority: filter.hostname.clone().unwrap_or_default(),
        scheme: filter.scheme.clone().unwrap_or_default(),
        port_from: Some(port),
        code: filter.status_code.unwrap_or(302).into(),
    }
}

fn rewrite(filter: &UrlRewrite) -> pb::Rewrite {
    use pb::rewrite::Path;
    let path = filter.path.as_ref().and_then(|path| match path.kind? {
        PathModifierType::ReplaceFullPath => path.replace_full_path.clone().map(Path::Full),
        PathModifierType::ReplacePrefixMatch => {
            path.replace_prefix_match.clone().map(Path::SegmentPrefix)
        }
    });
    pb::Rewrite {
        path,
        authority: filter.hostname.clone().unwrap_or_default(),
    }
}

/// Share of requests that are mirrored.
pub(super) fn mirror_ppm(mirror: &RequestMirror) -> u32 {
    let (part, whole) = match (mirror.percent, &mirror.fraction) {
        (Some(percent), _) => (percent, 100),
        (None, Some(f)) => (f.numerator, f.denominator.unwrap_or(100)),
        (None, None) => return parts::ALL,
    };
    let ppm = u64::from(part) * u64::from(parts::ALL) / u64::from(whole.max(1));
    u32::try_from(ppm).unwrap_or(parts::ALL).min(parts::ALL)
}
