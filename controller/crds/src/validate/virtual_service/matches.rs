//! `http[].match`: what a route takes.

use crate::error::Code;
use crate::istio::{HttpMatch, HttpRoute, StringMatch};
use crate::validate::report::Report;

/// Whether no later route is ever reached.
pub(super) fn take_everything(route: &HttpRoute) -> bool {
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

pub(super) fn check(m: &HttpMatch, path: &str, report: &mut Report) {
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
