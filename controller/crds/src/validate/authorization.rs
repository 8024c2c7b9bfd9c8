//! AuthorizationPolicy.

mod layers;

use super::report::{Report, clip};
use crate::error::Code;
use crate::istio::{
    Action, AuthorizationPolicySpec, Condition, Operation, Rule, Source, TargetRef,
};

const PLAIN_KEYS: [&str; 12] = [
    "source.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.principal",
    "source.trustDomain",
    "remote.ip",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];
const INDEXED_KEYS: [&str; 2] = ["request.headers[", "request.auth.claims["];

pub(super) fn check(spec: &AuthorizationPolicySpec, namespace: &str, report: &mut Report) {
    report.exclusive(
        "spec",
        &[
            ("selector", spec.selector.is_some()),
            ("targetRef", spec.target_ref.is_some()),
            ("targetRefs", !spec.target_refs.is_empty()),
        ],
    );
    if let Some(target) = &spec.target_ref {
        check_target(target, "spec.targetRef", namespace, report);
    }
    for (i, target) in spec.target_refs.iter().enumerate() {
        check_target(target, &format!("spec.targetRefs[{i}]"), namespace, report);
    }
    match (spec.action, &spec.provider) {
        (Action::Custom, None) => report.error("spec.provider", "required with action CUSTOM"),
        (Action::Custom, Some(p)) => report.required("spec.provider.name", p.name.is_empty()),
        (_, Some(_)) => report.error("spec.provider", "only allowed with action CUSTOM"),
        (_, None) => {}
    }
    if spec.rules.is_empty() && spec.action != Action::Allow {
        let reason = "no rules, so the policy never has an effect";
        report.warn("spec.rules", reason, Code::IneffectiveMatch);
    }
    for (i, rule) in spec.rules.iter().enumerate() {
        check_rule(rule, &format!("spec.rules[{i}]"), report);
    }
    layers::check(spec, report);
}

fn check_target(target: &TargetRef, path: &str, namespace: &str, report: &mut Report) {
    report.required(format_args!("{path}.name"), target.name.is_empty());
    let known = matches!(
        (target.group.as_str(), target.kind.as_str()),
        ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !known {
        let reason = format!(
            "`{}` of group `{}` cannot be a target; use Service, Gateway or GatewayClass",
            clip(&target.kind),
            clip(&target.group)
        );
        report.error(format_args!("{path}.kind"), reason);
    }
    if !target.namespace.is_empty() && target.namespace != namespace {
        report.error(
            format_args!("{path}.namespace"),
            "must be the policy's own namespace",
        );
    }
}

fn check_rule(rule: &Rule, path: &str, report: &mut Report) {
    for (i, from) in rule.from.iter().enumerate() {
        let path = format!("{path}.from[{i}].source");
        match &from.source {
            None => report.error(&path, "required"),
            Some(source) if *source == Source::default() => {
                report.error(&path, "must have at least one field");
            }
            Some(source) => check_source(source, &path, report),
        }
    }
    for (i, to) in rule.to.iter().enumerate() {
        let path = format!("{path}.to[{i}].operation");
        match &to.operation {
            None => report.error(&path, "required"),
            Some(operation) if *operation == Operation::default() => {
                report.error(&path, "must have at least one field");
            }
            Some(operation) => check_operation(operation, &path, report),
        }
    }
    for (i, condition) in rule.when.iter().enumerate() {
        check_condition(condition, &format!("{path}.when[{i}]"), report);
    }
}

fn check_source(source: &Source, path: &str, report: &mut Report) {
    let accounts = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let principals = !source.principals.is_empty()
        || !source.not_principals.is_empty()
        || !source.namespaces.is_empty()
        || !source.not_namespaces.is_empty();
    if accounts && principals {
        report.error(
            path,
            "serviceAccounts cannot be combined with principals or namespaces",
        );
    }
    let blocks = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    for (field, values) in blocks {
        for (i, value) in values.iter().enumerate() {
            check_block(value, &format!("{path}.{field}[{i}]"), report);
        }
    }
    let texts = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ];
    for (field, values) in texts {
        check_texts(values, &format!("{path}.{field}"), report);
    }
    for (field, values) in [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ] {
        for (i, value) in values.iter().enumerate() {
            let parts = value.split('/').count();
            if value.contains('*') || parts > 2 || value.starts_with('/') || value.ends_with('/') {
                let path = format!("{path}.{field}[{i}]");
                report.error(path, "must be `name` or `namespace/name`, without `*`");
            }
        }
    }
    for (field, values) in [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
    ] {
        for (i, value) in values.iter().enumerate() {
            if value.starts_with("spiffe://") {
                let path = format!("{path}.{field}[{i}]");
                let reason = "never matches: principals are written without `spiffe://`";
                report.warn(path, reason, Code::IneffectiveMatch);
            }
        }
    }
}

fn check_operation(operation: &Operation, path: &str, report: &mut Report) {
    for (field, values) in [
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
    ] {
        for (i, value) in values.iter().enumerate() {
            check_port(value, &format!("{path}.{field}[{i}]"), report);
        }
    }
    let texts = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ];
    for (field, values) in texts {
        check_texts(values, &format!("{path}.{field}"), report);
    }
    for (field, values) in [
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        for (i, value) in values.iter().enumerate() {
            if value.contains(['{', '}']) && !is_template(value) {
                let reason = "not a template: it starts with `/`, its segments are text, `{*}` or one `{**}`, \
                              and no operator follows `{**}`";
                report.error(format_args!("{path}.{field}[{i}]"), reason);
            }
        }
    }
}

fn is_template(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    let mut many = false;
    rest.split('/').all(|segment| match segment {
        "{*}" => !many,
        "{**}" => !std::mem::replace(&mut many, true),
        literal => !literal.contains(['{', '}', '*']),
    })
}

fn check_condition(condition: &Condition, path: &str, report: &mut Report) {
    let key = condition.key.as_str();
    let indexed = INDEXED_KEYS.iter().any(|prefix| {
        key.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| !inner.is_empty())
    });
    if key.is_empty() {
        report.error(format_args!("{path}.key"), "required");
    } else if key.starts_with("experimental.") {
        report.unsupported(format_args!("{path}.key"), "not supported yet");
    } else if !indexed && !PLAIN_KEYS.contains(&key) {
        let reason = format!("`{}` is not an attribute", clip(key));
        report.error(format_args!("{path}.key"), reason);
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(path, "one of values, notValues is required");
    }
    for (field, values) in [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ] {
        check_texts(values, &format!("{path}.{field}"), report);
        for (i, value) in values.iter().enumerate() {
            let path = format!("{path}.{field}[{i}]");
            match key {
                "source.ip" | "destination.ip" | "remote.ip" => check_block(value, &path, report),
                "destination.port" => check_port(value, &path, report),
                _ => {}
            }
        }
    }
}

/// `*` stands only at one end; an empty value could never match and is a slip.
fn check_texts(values: &[String], path: &str, report: &mut Report) {
    for (i, value) in values.iter().enumerate() {
        if value.is_empty() {
            report.error(format_args!("{path}[{i}]"), "must not be empty");
        } else if !value.contains('{') && value.len() > 1 {
            let inner = value.strip_prefix('*').or_else(|| value.strip_suffix('*'));
            if inner.unwrap_or(value).contains('*') {
                report.warn(
                    format_args!("{path}[{i}]"),
                    "only a `*` at the start or the end is a wildcard; others are taken literally",
                    Code::IneffectiveMatch,
                );
            }
        }
    }
}

fn check_block(value: &str, path: &str, report: &mut Report) {
    if value.parse::<std::net::IpAddr>().is_err() && value.parse::<ipnet::IpNet>().is_err() {
        let reason = format!("`{}` is not an address or CIDR", clip(value));
        report.error(path, reason);
    }
}

fn check_port(value: &str, path: &str, report: &mut Report) {
    if !value.parse::<u16>().is_ok_and(|port| port > 0) {
        let reason = format!("`{}` is not a port between 1 and 65535", clip(value));
        report.error(path, reason);
    }
}
