//! Retries, faults and mirrors of a route.

use super::check_destination;
use crate::error::Code;
use crate::grpc::GRPC_STATUSES;
use crate::istio::{Abort, Fault, HttpRoute, Percent, Retries};
use crate::validate::report::{Report, clip};

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

pub(super) fn check_retries(retries: &Retries, path: &str, report: &mut Report) {
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

pub(super) fn check_fault(fault: &Fault, path: &str, report: &mut Report) {
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

pub(super) fn check_mirrors(route: &HttpRoute, path: &str, report: &mut Report) {
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
