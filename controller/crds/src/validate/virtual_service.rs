//! VirtualService: hosts, and of each route what it does and to whom.
//! In: a parsed spec. Out: findings in the report, each with its path.
//! Source: Istio `networking/v1/VirtualService`.

mod actions;
mod matches;
mod resilience;

use super::report::{Report, clip};
use crate::error::Code;
use crate::istio::{Destination, HttpRoute, VirtualServiceSpec};
use std::collections::HashSet;

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
        if catch_all.is_none() && matches::take_everything(route) {
            catch_all = Some(i);
        }
    }
}

fn check_route(route: &HttpRoute, path: &str, report: &mut Report) {
    for (i, entry) in route.matches.iter().enumerate() {
        matches::check(entry, &format!("{path}.match[{i}]"), report);
    }
    check_action(route, path, report);
    for (i, to) in route.route.iter().enumerate() {
        let path = format!("{path}.route[{i}]");
        check_destination(
            to.destination.as_ref(),
            &format!("{path}.destination"),
            report,
        );
        actions::check_headers(to.headers.as_ref(), &format!("{path}.headers"), report);
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
    actions::check_headers(route.headers.as_ref(), &format!("{path}.headers"), report);
    if let Some(redirect) = &route.redirect {
        actions::check_redirect(redirect, &format!("{path}.redirect"), report);
    }
    if let Some(response) = &route.direct_response {
        actions::check_direct_response(response, &format!("{path}.directResponse"), report);
    }
    if let Some(rewrite) = &route.rewrite {
        actions::check_rewrite(rewrite, &format!("{path}.rewrite"), report);
    }
    if let Some(retries) = &route.retries {
        resilience::check_retries(retries, &format!("{path}.retries"), report);
    }
    if let Some(fault) = &route.fault {
        resilience::check_fault(fault, &format!("{path}.fault"), report);
    }
    resilience::check_mirrors(route, path, report);
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

fn check_destination(destination: Option<&Destination>, path: &str, report: &mut Report) {
    let Some(destination) = destination else {
        report.error(path, "required");
        return;
    };
    if destination.host.is_empty() {
        report.error(format_args!("{path}.host"), "required");
    } else {
        // A service may have a wildcard for its name, but not all names.
        let wildcard = destination.host != "*";
        report.host(format_args!("{path}.host"), &destination.host, wildcard);
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
