//! Gateway, and what its GatewayClass may say in its place.

use super::report::Report;
use crate::annotations::{
    CLIENT_IDENTITY, INBOUND_BINDING, InboundBinding, NAME_OVERRIDE, SERVICE_ACCOUNT,
    client_identity, inbound_binding, name_override, service_account,
};
use crate::error::Code;
use crate::gateway::{FromNamespaces, GatewaySpec, Listener};
use crate::object::Object;
use std::collections::HashSet;

const WAYPOINT_CLASS: &str = "istio-waypoint";
/// Classes whose gateways are run by Ambit.
const OWN_CLASSES: [&str; 4] = ["istio", "ambit", "istio-waypoint", "ambit-waypoint"];
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

/// Wrong ones refuse nothing: what runs stays as it is, or they count as absent.
pub(super) fn check_annotations(object: &Object, report: &mut Report) {
    let annotations = object.annotations();
    let mut warn = |name: &str, why: &str| {
        let path = format!("metadata.annotations.{name}");
        report.warn(path, why, Code::Schema);
    };
    if let Err(why) = client_identity(annotations) {
        warn(CLIENT_IDENTITY, &format!("{why}, and has no effect"));
    }
    match (inbound_binding(annotations), object) {
        (Err(why), _) => warn(INBOUND_BINDING, &format!("{why}, and has no effect")),
        (Ok(Some(InboundBinding::Proxy { .. })), Object::Gateway(gateway)) => {
            let class = gateway.spec.gateway_class_name.as_str();
            if OWN_CLASSES.contains(&class) {
                let why = format!("has no effect: pods of class {class} need no other proxy");
                warn(INBOUND_BINDING, &why);
            }
        }
        (Ok(_), _) => {}
    }
    if matches!(object, Object::Gateway(_)) {
        if let Err(why) = name_override(annotations) {
            warn(NAME_OVERRIDE, &why);
        }
        if let Err(why) = service_account(annotations) {
            warn(SERVICE_ACCOUNT, &why);
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
