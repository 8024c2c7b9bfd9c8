//! GRPCRoute.

use super::http_route;
use super::report::{Report, clip};
use crate::gateway::{FilterType, GrpcRule, MethodMatch, MethodMatchType};
use crate::object::GrpcRoute;

pub(super) fn check(route: &GrpcRoute, report: &mut Report) {
    http_route::check_attachment(&route.route.spec, report);
    for (i, rule) in route.written.rules.iter().enumerate() {
        check_rule(rule, &format!("spec.rules[{i}]"), report);
    }
}

fn check_rule(rule: &GrpcRule, path: &str, report: &mut Report) {
    for (i, entry) in rule.matches.iter().enumerate() {
        let path = format!("{path}.matches[{i}]");
        if let Some(method) = &entry.method {
            check_method(method, &format!("{path}.method"), report);
        }
        http_route::check_headers(&entry.headers, &path, report);
    }
    http_route::check_filters(&rule.filters, path, report);
    for (i, filter) in rule.filters.iter().enumerate() {
        if matches!(
            filter.kind,
            Some(FilterType::RequestRedirect | FilterType::UrlRewrite | FilterType::Cors)
        ) {
            let path = format!("{path}.filters[{i}].type");
            report.error(path, "not a filter of a GRPCRoute");
        }
    }
    http_route::check_backends(&rule.backend_refs, path, report);
}

fn check_method(m: &MethodMatch, path: &str, report: &mut Report) {
    let names = [("service", &m.service), ("method", &m.method)];
    let mut given = names
        .into_iter()
        .filter_map(|(field, name)| Some((field, name.as_deref()?)))
        .filter(|(_, name)| !name.is_empty())
        .peekable();
    if given.peek().is_none() {
        report.error(path, "service, method or both must be set");
    }
    for (field, name) in given {
        let path = format!("{path}.{field}");
        match m.kind {
            MethodMatchType::RegularExpression => report.regex(path, name),
            MethodMatchType::Exact if !is_name(name, field == "service") => {
                report.error(path, format_args!("`{}` is not a name of gRPC", clip(name)));
            }
            MethodMatchType::Exact => {}
        }
    }
}

/// Letters, digits and `_`, not starting with a digit; a service's has parts with dots between them.
fn is_name(name: &str, dotted: bool) -> bool {
    let is_part = |part: &str| {
        let mut chars = part.chars();
        chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if dotted {
        let name = name.strip_prefix('.').unwrap_or(name);
        name.split('.').all(is_part)
    } else {
        is_part(name)
    }
}
