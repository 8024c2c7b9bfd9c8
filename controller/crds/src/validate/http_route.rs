//! HTTPRoute.

use super::report::{Report, clip};
use crate::gateway::{
    BackendRef, Filter, FilterType, HeaderFilter, HeaderMatchType, HttpRouteSpec, NameMatch,
    PathMatch, PathMatchType, PathModifier, PathModifierType, RequestMirror, RouteMatch, RouteRule,
    Timeouts,
};
use std::collections::HashSet;

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const ISTIO_GROUP: &str = "networking.istio.io";

pub(super) fn check(spec: &HttpRouteSpec, report: &mut Report) {
    check_attachment(spec, report);
    for (i, rule) in spec.rules.iter().enumerate() {
        check_rule(rule, &format!("spec.rules[{i}]"), report);
    }
}

/// What routes of every kind have: parents, host names, a number of rules.
pub(super) fn check_attachment(spec: &HttpRouteSpec, report: &mut Report) {
    for (i, parent) in spec.parent_refs.iter().enumerate() {
        let path = format!("spec.parentRefs[{i}]");
        report.required(format_args!("{path}.name"), parent.name.is_empty());
        let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        if !matches!(
            (group, kind),
            (GATEWAY_GROUP, "Gateway") | ("" | "core", "Service") | (ISTIO_GROUP, "ServiceEntry")
        ) {
            let reason = format!(
                "`{}` of group `{}` is not supported yet",
                clip(kind),
                clip(group)
            );
            report.unsupported(&path, reason);
        }
        if let Some(port) = parent.port {
            report.port(format_args!("{path}.port"), port);
        }
    }
    for (i, host) in spec.hostnames.iter().enumerate() {
        let path = format!("spec.hostnames[{i}]");
        if host == "*" || host.parse::<std::net::IpAddr>().is_ok() {
            report.error(path, "must be a host name, optionally starting with `*.`");
        } else {
            report.host(path, host, true);
        }
    }
    if spec.rules.len() > 128 {
        report.error("spec.rules", "more than 128 rules");
    }
}

fn check_rule(rule: &RouteRule, path: &str, report: &mut Report) {
    for (i, entry) in rule.matches.iter().enumerate() {
        check_match(entry, &format!("{path}.matches[{i}]"), report);
    }
    check_filters(&rule.filters, path, report);
    let redirects = rule
        .filters
        .iter()
        .any(|f| f.kind == Some(FilterType::RequestRedirect));
    if redirects && !rule.backend_refs.is_empty() {
        report.error(
            format_args!("{path}.backendRefs"),
            "not allowed together with a RequestRedirect filter",
        );
    }
    check_prefix_replacement(rule, path, report);
    check_backends(&rule.backend_refs, path, report);
    if let Some(timeouts) = &rule.timeouts {
        check_timeouts(timeouts, path, report);
    }
}

pub(super) fn check_backends(backends: &[BackendRef], path: &str, report: &mut Report) {
    for (i, backend) in backends.iter().enumerate() {
        let path = format!("{path}.backendRefs[{i}]");
        check_backend(backend, &path, report);
        check_filters(&backend.filters, &path, report);
        for (j, filter) in backend.filters.iter().enumerate() {
            if !matches!(
                filter.kind,
                None | Some(FilterType::RequestHeaderModifier | FilterType::ResponseHeaderModifier)
            ) {
                report.unsupported(
                    format_args!("{path}.filters[{j}].type"),
                    "only header modifiers are supported on a backend",
                );
            }
        }
    }
}

fn check_timeouts(timeouts: &Timeouts, path: &str, report: &mut Report) {
    if let (Some(request), Some(backend)) = (timeouts.request, timeouts.backend_request)
        && !request.is_zero()
        && backend > request
    {
        report.error(
            format_args!("{path}.timeouts.backendRequest"),
            "must not be longer than timeouts.request",
        );
    }
}

fn check_match(entry: &RouteMatch, path: &str, report: &mut Report) {
    if let Some(m) = &entry.path {
        check_path(m, &format!("{path}.path"), report);
    }
    check_headers(&entry.headers, path, report);
    for (i, param) in entry.query_params.iter().enumerate() {
        let path = format!("{path}.queryParams[{i}]");
        report.required(format_args!("{path}.name"), param.name.is_empty());
        check_named(param, &path, report);
    }
    if let Some(method) = &entry.method
        && !METHODS.contains(&method.as_str())
    {
        let reason = format!("`{}` is not one of {}", clip(method), METHODS.join(", "));
        report.error(format_args!("{path}.method"), reason);
    }
}

pub(super) fn check_headers(headers: &[NameMatch], path: &str, report: &mut Report) {
    for (i, header) in headers.iter().enumerate() {
        let path = format!("{path}.headers[{i}]");
        report.header_name(format_args!("{path}.name"), &header.name);
        check_named(header, &path, report);
    }
}

fn check_path(m: &PathMatch, path: &str, report: &mut Report) {
    let value = m.value.as_deref().unwrap_or("/");
    let path = format!("{path}.value");
    match m.kind {
        PathMatchType::RegularExpression => report.regex(path, value),
        PathMatchType::Exact | PathMatchType::PathPrefix => {
            if !value.starts_with('/') {
                report.error(path, "must start with `/`");
            } else if value.contains("//")
                || value.contains('#')
                || value.split('/').any(|s| s == "." || s == "..")
            {
                report.error(path, "must not contain `//`, `#`, `/./` or `/../`");
            }
        }
    }
}

fn check_named(m: &NameMatch, path: &str, report: &mut Report) {
    let path = format!("{path}.value");
    if m.value.is_empty() {
        report.error(path, "required");
    } else if m.kind == HeaderMatchType::RegularExpression {
        report.regex(path, &m.value);
    }
}

/// `ReplacePrefixMatch` needs to know which prefix: exactly one `PathPrefix` match.
fn check_prefix_replacement(rule: &RouteRule, path: &str, report: &mut Report) {
    let replaces = |m: Option<&PathModifier>| {
        m.is_some_and(|m| m.kind == Some(PathModifierType::ReplacePrefixMatch))
    };
    let any = rule.filters.iter().any(|f| {
        replaces(f.url_rewrite.as_ref().and_then(|r| r.path.as_ref()))
            || replaces(f.request_redirect.as_ref().and_then(|r| r.path.as_ref()))
    });
    let by_prefix = |m: &RouteMatch| {
        m.path
            .as_ref()
            .is_none_or(|p| p.kind == PathMatchType::PathPrefix)
    };
    if any && !rule.matches.iter().all(by_prefix) {
        report.error(
            format_args!("{path}.filters"),
            "ReplacePrefixMatch needs every match of the rule to be a PathPrefix",
        );
    }
}

pub(super) fn check_filters(filters: &[Filter], path: &str, report: &mut Report) {
    let mut seen = HashSet::new();
    for (i, filter) in filters.iter().enumerate() {
        let path = format!("{path}.filters[{i}]");
        let Some(kind) = filter.kind else {
            report.error(format_args!("{path}.type"), "required");
            continue;
        };
        if kind != FilterType::RequestMirror && !seen.insert(kind) {
            report.error(format_args!("{path}.type"), "may be used once in a rule");
        }
        check_filter(filter, kind, &path, report);
    }
    if seen.contains(&FilterType::RequestRedirect) && seen.contains(&FilterType::UrlRewrite) {
        report.error(
            format_args!("{path}.filters"),
            "RequestRedirect and URLRewrite exclude each other",
        );
    }
}

fn check_filter(filter: &Filter, kind: FilterType, path: &str, report: &mut Report) {
    let fields = [
        (
            "requestHeaderModifier",
            FilterType::RequestHeaderModifier,
            filter.request_header_modifier.is_some(),
        ),
        (
            "responseHeaderModifier",
            FilterType::ResponseHeaderModifier,
            filter.response_header_modifier.is_some(),
        ),
        (
            "requestRedirect",
            FilterType::RequestRedirect,
            filter.request_redirect.is_some(),
        ),
        (
            "urlRewrite",
            FilterType::UrlRewrite,
            filter.url_rewrite.is_some(),
        ),
        (
            "requestMirror",
            FilterType::RequestMirror,
            filter.request_mirror.is_some(),
        ),
    ];
    for (field, of, set) in fields {
        if of == kind && !set {
            report.error(format_args!("{path}.{field}"), "required by the type");
        } else if of != kind && set {
            report.error(
                format_args!("{path}.{field}"),
                "does not belong to the type",
            );
        }
    }
    if matches!(
        kind,
        FilterType::Cors | FilterType::ExtensionRef | FilterType::ExternalAuth
    ) {
        report.unsupported(format_args!("{path}.type"), "not supported yet");
    }
    check_filter_fields(filter, path, report);
}

fn check_filter_fields(filter: &Filter, path: &str, report: &mut Report) {
    if let Some(m) = &filter.request_header_modifier {
        check_header_filter(m, &format!("{path}.requestHeaderModifier"), report);
    }
    if let Some(m) = &filter.response_header_modifier {
        check_header_filter(m, &format!("{path}.responseHeaderModifier"), report);
    }
    if let Some(redirect) = &filter.request_redirect {
        let path = format!("{path}.requestRedirect");
        if !matches!(redirect.scheme.as_deref(), None | Some("http" | "https")) {
            report.error(format_args!("{path}.scheme"), "must be http or https");
        }
        if !matches!(
            redirect.status_code,
            None | Some(301 | 302 | 303 | 307 | 308)
        ) {
            report.error(
                format_args!("{path}.statusCode"),
                "must be 301, 302, 303, 307 or 308",
            );
        }
        if let Some(port) = redirect.port {
            report.port(format_args!("{path}.port"), port);
        }
        check_target(
            redirect.hostname.as_deref(),
            redirect.path.as_ref(),
            &path,
            report,
        );
    }
    if let Some(rewrite) = &filter.url_rewrite {
        let path = format!("{path}.urlRewrite");
        check_target(
            rewrite.hostname.as_deref(),
            rewrite.path.as_ref(),
            &path,
            report,
        );
    }
    if let Some(mirror) = &filter.request_mirror {
        check_mirror(mirror, &format!("{path}.requestMirror"), report);
    }
}

fn check_target(
    hostname: Option<&str>,
    modifier: Option<&PathModifier>,
    path: &str,
    report: &mut Report,
) {
    if let Some(hostname) = hostname {
        report.host(format_args!("{path}.hostname"), hostname, false);
    }
    let Some(modifier) = modifier else { return };
    let path = format!("{path}.path");
    let full = modifier.replace_full_path.is_some();
    let prefix = modifier.replace_prefix_match.is_some();
    let fits = match modifier.kind {
        None => {
            report.error(format_args!("{path}.type"), "required");
            return;
        }
        Some(PathModifierType::ReplaceFullPath) => full && !prefix,
        Some(PathModifierType::ReplacePrefixMatch) => prefix && !full,
    };
    if !fits {
        report.error(&path, "exactly the field named by the type must be set");
    }
    for text in [&modifier.replace_full_path, &modifier.replace_prefix_match]
        .into_iter()
        .flatten()
    {
        report.header_value(&path, text);
    }
}

fn check_header_filter(filter: &HeaderFilter, path: &str, report: &mut Report) {
    for (field, headers) in [("set", &filter.set), ("add", &filter.add)] {
        for (i, header) in headers.iter().enumerate() {
            let path = format!("{path}.{field}[{i}]");
            report.header_name(format_args!("{path}.name"), &header.name);
            report.header_value(format_args!("{path}.value"), &header.value);
        }
    }
    for (i, name) in filter.remove.iter().enumerate() {
        report.header_name(format_args!("{path}.remove[{i}]"), name);
    }
}

fn check_mirror(mirror: &RequestMirror, path: &str, report: &mut Report) {
    check_backend(&mirror.backend_ref, &format!("{path}.backendRef"), report);
    report.exclusive(
        path,
        &[
            ("percent", mirror.percent.is_some()),
            ("fraction", mirror.fraction.is_some()),
        ],
    );
    if let Some(percent) = mirror.percent {
        report.percent(format_args!("{path}.percent"), f64::from(percent));
    }
    if let Some(fraction) = mirror.fraction {
        let whole = fraction.denominator.unwrap_or(100);
        if whole == 0 || fraction.numerator > whole {
            report.error(
                format_args!("{path}.fraction"),
                "numerator must not be greater than denominator",
            );
        }
    }
}

fn check_backend(backend: &BackendRef, path: &str, report: &mut Report) {
    report.required(format_args!("{path}.name"), backend.name.is_empty());
    let group = backend.group.as_deref().unwrap_or("");
    let kind = backend.kind.as_deref().unwrap_or("Service");
    if !matches!(
        (group, kind),
        ("" | "core", "Service") | (ISTIO_GROUP, "Hostname")
    ) {
        let reason = format!(
            "`{}` of group `{}` is not supported yet",
            clip(kind),
            clip(group)
        );
        report.unsupported(path, reason);
        return;
    }
    match backend.port {
        None => report.error(
            format_args!("{path}.port"),
            format_args!("required for a {kind}"),
        ),
        Some(port) => report.port(format_args!("{path}.port"), port),
    }
    if backend.weight.is_some_and(|w| w > 1_000_000) {
        report.error(format_args!("{path}.weight"), "must be at most 1000000");
    }
}
