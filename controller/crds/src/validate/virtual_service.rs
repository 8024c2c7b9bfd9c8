//! VirtualService.

use super::report::{Report, clip};
use crate::error::Code;
use crate::grpc::GRPC_STATUSES;
use crate::istio::{
    Abort, Destination, DirectResponse, Fault, HeaderOperations, Headers, HttpMatch, HttpRoute,
    Percent, Redirect, Retries, Rewrite, StringMatch, VirtualServiceSpec,
};
use std::collections::HashSet;

const RETRY_ON: [&str; 18] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "retriable-status-codes",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "envoy-ratelimited",
    "retriable-headers",
    "http3-post-connect-failure",
    "unknown",
    "aborted",
];
const RETRY_ON_EXECUTED: usize = 13;

pub(super) fn check(spec: &VirtualServiceSpec, report: &mut Report) {
    report.required("spec.hosts", spec.hosts.is_empty());
    let mut seen = HashSet::new();
    for (i, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{i}]");
        report.host(&path, host, true);
        if !seen.insert(host) {
            report.error(&path, format_args!("`{}` is listed twice", clip(host)));
        }
    }
    report.export_to(&spec.export_to);
    report.required("spec.http", spec.http.is_empty());
    let mut names = HashSet::new();
    let mut catch_all: Option<usize> = None;
    for (i, route) in spec.http.iter().enumerate() {
        let path = format!("spec.http[{i}]");
        if let Some(earlier) = catch_all {
            let reason = format!("never reached: spec.http[{earlier}] takes every request");
            report.warn(&path, reason, Code::Unreachable);
        }
        if !route.name.is_empty() && !names.insert(&route.name) {
            report.error(format_args!("{path}.name"), "used by an earlier route");
        }
        check_route(route, &path, report);
        if catch_all.is_none() && takes_everything(route) {
            catch_all = Some(i);
        }
    }
}

fn takes_everything(route: &HttpRoute) -> bool {
    let everything = |m: &HttpMatch| {
        let root = m
            .uri
            .as_ref()
            .is_none_or(|u| u.prefix.as_deref() == Some("/") || u.regex.as_deref() == Some(".*"));
        root && m.scheme.is_none()
            && m.method.is_none()
            && m.authority.is_none()
            && m.headers.is_empty()
            && m.without_headers.is_empty()
            && m.query_params.is_empty()
            && m.port.is_none()
            && (m.gateways.is_empty() || m.gateways.iter().any(|g| g == "mesh"))
    };
    route.matches.is_empty() || route.matches.iter().any(everything)
}

fn check_route(route: &HttpRoute, path: &str, report: &mut Report) {
    for (i, entry) in route.matches.iter().enumerate() {
        check_match(entry, &format!("{path}.match[{i}]"), report);
    }
    check_action(route, path, report);
    for (i, to) in route.route.iter().enumerate() {
        let path = format!("{path}.route[{i}]");
        check_destination(
            to.destination.as_ref(),
            &format!("{path}.destination"),
            report,
        );
        check_headers(to.headers.as_ref(), &format!("{path}.headers"), report);
    }
    let total: u64 = route.route.iter().map(|r| u64::from(r.weight)).sum();
    if route.route.len() > 1 && total == 0 {
        report.error(format_args!("{path}.route"), "all weights are 0");
    }
    if total > u64::from(u32::MAX) {
        report.error(
            format_args!("{path}.route"),
            "weights add up to more than 4294967295",
        );
    }
    check_headers(route.headers.as_ref(), &format!("{path}.headers"), report);
    if let Some(redirect) = &route.redirect {
        check_redirect(redirect, &format!("{path}.redirect"), report);
    }
    if let Some(response) = &route.direct_response {
        check_direct_response(response, &format!("{path}.directResponse"), report);
    }
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(rewrite, &format!("{path}.rewrite"), report);
    }
    if let Some(retries) = &route.retries {
        check_retries(retries, &format!("{path}.retries"), report);
    }
    if let Some(fault) = &route.fault {
        check_fault(fault, &format!("{path}.fault"), report);
    }
    check_mirrors(route, path, report);
}

fn check_action(route: &HttpRoute, path: &str, report: &mut Report) {
    let actions = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
    ];
    if !actions.iter().any(|(_, set)| *set) {
        report.error(path, "one of route, redirect, directResponse is required");
    }
    report.exclusive(path, &actions);
    if route.route.is_empty() {
        let only_with_route = [
            ("rewrite", route.rewrite.is_some()),
            ("retries", route.retries.is_some()),
            ("timeout", route.timeout.is_some()),
            (
                "mirror",
                route.mirror.is_some() || !route.mirrors.is_empty(),
            ),
        ];
        for (field, _) in only_with_route.iter().filter(|(_, set)| *set) {
            report.error(
                format_args!("{path}.{field}"),
                "only allowed together with route",
            );
        }
        if route.fault.is_some() && route.redirect.is_some() {
            report.error(
                format_args!("{path}.fault"),
                "not allowed together with redirect",
            );
        }
    }
}

fn check_match(m: &HttpMatch, path: &str, report: &mut Report) {
    let strings = [
        ("uri", &m.uri),
        ("scheme", &m.scheme),
        ("method", &m.method),
        ("authority", &m.authority),
    ];
    for (field, value) in strings {
        if let Some(value) = value {
            check_string(value, &format!("{path}.{field}"), Presence::Refused, report);
        }
    }
    for (field, map) in [
        ("headers", &m.headers),
        ("withoutHeaders", &m.without_headers),
    ] {
        for (name, value) in map {
            let path = format!("{path}.{field}.{name}");
            if name.starts_with("@request.auth.claims") {
                report.unsupported(&path, "JWT claims are not supported yet");
                continue;
            }
            if matches!(name.as_str(), "uri" | "scheme" | "method" | "authority") {
                let reason = format!("`{name}` has a field of its own in the match");
                report.warn(&path, reason, Code::IneffectiveMatch);
            }
            report.header_name(&path, name);
            check_string(value, &path, Presence::Allowed, report);
        }
    }
    for (name, value) in &m.query_params {
        let path = format!("{path}.queryParams.{name}");
        report.required(&path, name.is_empty());
        check_string(value, &path, Presence::Allowed, report);
    }
    if let Some(port) = m.port {
        report.port(format_args!("{path}.port"), port);
    }
    if m.ignore_uri_case && m.uri.as_ref().is_some_and(|u| u.regex.is_some()) {
        report.warn(
            format_args!("{path}.ignoreUriCase"),
            "has no effect on a regex; write (?i) into it",
            Code::IneffectiveMatch,
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Presence {
    Allowed,
    Refused,
}

fn check_string(value: &StringMatch, path: &str, presence: Presence, report: &mut Report) {
    let set = [
        ("exact", value.exact.is_some()),
        ("prefix", value.prefix.is_some()),
        ("regex", value.regex.is_some()),
    ];
    if presence == Presence::Refused && !set.iter().any(|(_, set)| *set) {
        report.error(path, "one of exact, prefix, regex is required");
    }
    report.exclusive(path, &set);
    if presence == Presence::Refused && value.prefix.as_deref() == Some("") {
        report.error(format_args!("{path}.prefix"), "must not be empty");
    }
    match value.regex.as_deref() {
        // `*` is how presence is written.
        Some("*") if presence == Presence::Allowed => {}
        Some("") => report.error(format_args!("{path}.regex"), "must not be empty"),
        Some(pattern) => report.regex(format_args!("{path}.regex"), pattern),
        None => {}
    }
}

fn check_destination(destination: Option<&Destination>, path: &str, report: &mut Report) {
    let Some(destination) = destination else {
        report.error(path, "required");
        return;
    };
    if destination.host.is_empty() {
        report.error(format_args!("{path}.host"), "required");
    } else {
        report.host(format_args!("{path}.host"), &destination.host, false);
    }
    if !destination.subset.is_empty() {
        check_subset_name(&destination.subset, &format!("{path}.subset"), report);
    }
    if let Some(port) = &destination.port {
        report.port(format_args!("{path}.port.number"), port.number);
    }
}

/// Subset names are part of cluster names, so they must not hold separators.
pub(super) fn check_subset_name(name: &str, path: &str, report: &mut Report) {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(fine) {
        report.error(
            path,
            "must be letters, digits, `-`, `_` and `.`, at most 63",
        );
    }
}

fn check_headers(headers: Option<&Headers>, path: &str, report: &mut Report) {
    let Some(headers) = headers else { return };
    for (side, operations) in [
        ("request", &headers.request),
        ("response", &headers.response),
    ] {
        if let Some(operations) = operations {
            check_operations(operations, &format!("{path}.{side}"), report);
        }
    }
}

fn check_operations(operations: &HeaderOperations, path: &str, report: &mut Report) {
    for (field, map) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in map {
            let path = format!("{path}.{field}.{name}");
            report.header_name(&path, name);
            report.header_value(&path, value);
            if field == "set" && (name.eq_ignore_ascii_case("host") || name == ":authority") {
                report.authority(&path, value);
            }
        }
    }
    for (i, name) in operations.remove.iter().enumerate() {
        report.header_name(format_args!("{path}.remove[{i}]"), name);
    }
}

fn check_redirect(redirect: &Redirect, path: &str, report: &mut Report) {
    let effects = [
        redirect.uri.is_some(),
        redirect.prefix_rewrite.is_some(),
        redirect.authority.is_some(),
        redirect.scheme.is_some(),
        redirect.port.is_some(),
        redirect.derive_port.is_some(),
    ];
    if !effects.contains(&true) {
        report.error(path, "must change uri, authority, scheme or port");
    }
    report.exclusive(
        path,
        &[
            ("uri", redirect.uri.is_some()),
            ("prefixRewrite", redirect.prefix_rewrite.is_some()),
        ],
    );
    report.exclusive(
        path,
        &[
            ("port", redirect.port.is_some()),
            ("derivePort", redirect.derive_port.is_some()),
        ],
    );
    if let Some(port) = redirect.port {
        report.port(format_args!("{path}.port"), port);
    }
    if !matches!(
        redirect.redirect_code,
        None | Some(0 | 301 | 302 | 303 | 307 | 308)
    ) {
        report.error(
            format_args!("{path}.redirectCode"),
            "must be 301, 302, 303, 307 or 308",
        );
    }
    if !matches!(redirect.scheme.as_deref(), None | Some("http" | "https")) {
        report.error(format_args!("{path}.scheme"), "must be http or https");
    }
    let texts = [
        ("uri", &redirect.uri),
        ("prefixRewrite", &redirect.prefix_rewrite),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            report.header_value(format_args!("{path}.{field}"), text);
        }
    }
    if let Some(authority) = &redirect.authority {
        report.authority(format_args!("{path}.authority"), authority);
    }
}

fn check_direct_response(response: &DirectResponse, path: &str, report: &mut Report) {
    if !(200..=599).contains(&response.status) {
        report.error(format_args!("{path}.status"), "must be between 200 and 599");
    }
    if let Some(body) = &response.body {
        let path = format!("{path}.body");
        let set = [
            ("string", body.string.is_some()),
            ("bytes", body.bytes.is_some()),
        ];
        if !set.iter().any(|(_, set)| *set) {
            report.error(&path, "one of string, bytes is required");
        }
        report.exclusive(&path, &set);
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        if length(&body.string) + length(&body.bytes) > 1 << 20 {
            report.error(&path, "longer than 1 MiB");
        }
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/' || b == b'=';
        if body
            .bytes
            .as_ref()
            .is_some_and(|t| t.len() % 4 != 0 || !t.bytes().all(base64))
        {
            report.error(format_args!("{path}.bytes"), "not base64");
        }
    }
}

fn check_rewrite(rewrite: &Rewrite, path: &str, report: &mut Report) {
    let set = [
        ("uri", rewrite.uri.is_some()),
        ("uriRegexRewrite", rewrite.uri_regex_rewrite.is_some()),
    ];
    if !set.iter().any(|(_, set)| *set) && rewrite.authority.is_none() {
        report.error(path, "one of uri, uriRegexRewrite, authority is required");
    }
    report.exclusive(path, &set);
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        report.required(
            format_args!("{path}.uriRegexRewrite.match"),
            regex.pattern.is_empty(),
        );
        report.regex(format_args!("{path}.uriRegexRewrite.match"), &regex.pattern);
    }
    if let Some(uri) = &rewrite.uri {
        report.header_value(format_args!("{path}.uri"), uri);
    }
    if let Some(authority) = &rewrite.authority {
        report.authority(format_args!("{path}.authority"), authority);
    }
}

fn check_retries(retries: &Retries, path: &str, report: &mut Report) {
    if retries.attempts > 100 {
        report.error(format_args!("{path}.attempts"), "must be at most 100");
    }
    let millisecond = std::time::Duration::from_millis(1);
    let pauses = [
        ("perTryTimeout", retries.per_try_timeout),
        ("backoff", retries.backoff),
    ];
    for (field, value) in pauses {
        if value.is_some_and(|v| !v.is_zero() && v < millisecond) {
            report.error(format_args!("{path}.{field}"), "must be at least 1ms");
        }
    }
    for item in retries
        .retry_on
        .iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
    {
        let path = format!("{path}.retryOn");
        let is_status = item.parse::<u16>().is_ok_and(|s| (100..=599).contains(&s));
        match RETRY_ON.iter().position(|known| *known == item) {
            _ if item.is_empty() || is_status => {}
            Some(at) if at < RETRY_ON_EXECUTED => {}
            Some(_) => report.unsupported(path, format_args!("`{item}` is not supported yet")),
            None => report.error(
                path,
                format_args!("`{}` is not a retry condition", clip(item)),
            ),
        }
    }
}

fn check_fault(fault: &Fault, path: &str, report: &mut Report) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(path, "one of delay, abort is required");
    }
    if let Some(delay) = &fault.delay {
        let path = format!("{path}.delay");
        match delay.fixed_delay {
            None => report.error(format_args!("{path}.fixedDelay"), "required"),
            Some(d) if d < std::time::Duration::from_millis(1) => {
                report.error(format_args!("{path}.fixedDelay"), "must be at least 1ms");
            }
            Some(_) => {}
        }
        check_percentage(delay.percentage, &path, report);
    }
    if let Some(abort) = &fault.abort {
        check_abort(abort, &format!("{path}.abort"), report);
    }
}

fn check_abort(abort: &Abort, path: &str, report: &mut Report) {
    let set = [
        ("httpStatus", abort.http_status.is_some()),
        ("grpcStatus", abort.grpc_status.is_some()),
    ];
    if !set.iter().any(|(_, set)| *set) {
        report.error(path, "one of httpStatus, grpcStatus is required");
    }
    report.exclusive(path, &set);
    if abort.http_status.is_some_and(|s| !(200..=599).contains(&s)) {
        report.error(
            format_args!("{path}.httpStatus"),
            "must be between 200 and 599",
        );
    }
    if let Some(status) = &abort.grpc_status
        && !GRPC_STATUSES.contains(&status.as_str())
    {
        let reason = format!(
            "`{}` is not a gRPC status such as UNAVAILABLE",
            clip(status)
        );
        report.error(format_args!("{path}.grpcStatus"), reason);
    }
    check_percentage(abort.percentage, path, report);
}

fn check_percentage(percentage: Option<Percent>, path: &str, report: &mut Report) {
    match percentage {
        Some(percent) => report.percent(format_args!("{path}.percentage.value"), percent.value),
        None => report.warn(
            format_args!("{path}.percentage"),
            "not set, so no request is affected",
            Code::IneffectiveMatch,
        ),
    }
}

fn check_mirrors(route: &HttpRoute, path: &str, report: &mut Report) {
    report.exclusive(
        path,
        &[
            ("mirror", route.mirror.is_some()),
            ("mirrors", !route.mirrors.is_empty()),
        ],
    );
    if let Some(mirror) = &route.mirror {
        check_destination(Some(mirror), &format!("{path}.mirror"), report);
    }
    if let Some(percent) = route.mirror_percentage {
        report.percent(format_args!("{path}.mirrorPercentage.value"), percent.value);
        if route.mirror.is_none() {
            report.error(
                format_args!("{path}.mirrorPercentage"),
                "only allowed together with mirror",
            );
        }
    }
    for (i, mirror) in route.mirrors.iter().enumerate() {
        let path = format!("{path}.mirrors[{i}]");
        check_destination(
            mirror.destination.as_ref(),
            &format!("{path}.destination"),
            report,
        );
        if let Some(percent) = mirror.percentage {
            report.percent(format_args!("{path}.percentage.value"), percent.value);
        }
    }
}
