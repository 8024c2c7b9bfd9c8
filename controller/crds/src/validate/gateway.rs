//! Gateway.

use super::report::Report;
use crate::gateway::{FromNamespaces, GatewaySpec, Listener};
use std::collections::HashSet;

const WAYPOINT_CLASS: &str = "istio-waypoint";
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

pub(super) fn check(spec: &GatewaySpec, report: &mut Report) {
    report.required("spec.gatewayClassName", spec.gateway_class_name.is_empty());
    report.required("spec.listeners", spec.listeners.is_empty());
    let mut names = HashSet::new();
    for (i, listener) in spec.listeners.iter().enumerate() {
        let path = format!("spec.listeners[{i}]");
        report.required(format_args!("{path}.name"), listener.name.is_empty());
        if !names.insert(&listener.name) {
            report.error(format_args!("{path}.name"), "used by an earlier listener");
        }
        report.port(format_args!("{path}.port"), listener.port);
        report.required(
            format_args!("{path}.protocol"),
            listener.protocol.is_empty(),
        );
        check_allowed(listener, &path, report);
    }
    if spec.gateway_class_name == WAYPOINT_CLASS {
        let served = |l: &Listener| l.protocol == "HBONE" && l.port == 15008;
        if !spec.listeners.iter().any(served) {
            report.error(
                "spec.listeners",
                "a waypoint needs a listener of protocol HBONE on port 15008",
            );
        }
    }
}

fn check_allowed(listener: &Listener, path: &str, report: &mut Report) {
    let Some(namespaces) = listener
        .allowed_routes
        .as_ref()
        .and_then(|a| a.namespaces.as_ref())
    else {
        return;
    };
    let path = format!("{path}.allowedRoutes.namespaces.selector");
    if namespaces.from == FromNamespaces::Selector && namespaces.selector.is_none() {
        report.error(&path, "required with from: Selector");
    }
    let expressions = namespaces
        .selector
        .iter()
        .flat_map(|s| &s.match_expressions);
    for (i, expression) in expressions.enumerate() {
        if !OPERATORS.contains(&expression.operator.as_str()) {
            report.error(
                format_args!("{path}.matchExpressions[{i}].operator"),
                "must be In, NotIn, Exists or DoesNotExist",
            );
        }
    }
}
