//! What a route changes or answers: headers, redirect, direct response, rewrite.

use crate::istio::{DirectResponse, HeaderOperations, Headers, Redirect, Rewrite};
use crate::validate::report::Report;

pub(super) fn check_headers(headers: Option<&Headers>, path: &str, report: &mut Report) {
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

pub(super) fn check_redirect(redirect: &Redirect, path: &str, report: &mut Report) {
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

pub(super) fn check_direct_response(response: &DirectResponse, path: &str, report: &mut Report) {
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

pub(super) fn check_rewrite(rewrite: &Rewrite, path: &str, report: &mut Report) {
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
