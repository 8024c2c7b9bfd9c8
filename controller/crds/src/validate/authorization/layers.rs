//! Who enforces a rule: node proxies know connections, waypoints know requests, nobody knows JWT yet.
//! In: a policy. Out: warnings where a rule will not do what is written, with the effect it has instead.

use super::super::report::Report;
use crate::error::Code;
use crate::istio::{Action, AuthorizationPolicySpec, Rule};

/// What a field asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A waypoint.
    Request,
    /// What does not exist yet.
    More,
}

/// Keys of `when` that node proxies match.
const CONNECTION_KEYS: [&str; 6] = [
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "destination.ip",
    "destination.port",
];

pub(super) fn check(spec: &AuthorizationPolicySpec, report: &mut Report) {
    let waypoint = spec.target_ref.is_some() || !spec.target_refs.is_empty();
    if !matches!(spec.action, Action::Allow | Action::Deny) {
        return;
    }
    for (i, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let fields = beyond_connections(rule);
        let lost: Vec<&str> = fields
            .iter()
            .filter(|(_, needs)| !waypoint || *needs == Needs::More)
            .map(|(field, _)| field.as_str())
            .collect();
        if lost.is_empty() {
            continue;
        }
        let lost = lost.join(", ");
        if waypoint {
            let effect = match spec.action {
                Action::Allow => "so this rule allows nothing",
                _ => "so this rule denies without regard to it",
            };
            let reason = format!("waypoints cannot match {lost} yet, {effect}");
            report.warn(path, reason, Code::Unsupported);
        } else {
            let effect = match spec.action {
                Action::Allow => "so this rule allows nothing",
                _ => "so this rule denies more, or nothing",
            };
            let reason = format!(
                "node proxies cannot match {lost}, {effect}; name a Service or Gateway in targetRefs to have \
                 a waypoint enforce it"
            );
            report.warn(path, reason, Code::IneffectiveMatch);
        }
    }
}

/// Fields that a node proxy cannot match.
fn beyond_connections(rule: &Rule) -> Vec<(String, Needs)> {
    let mut found = Vec::new();
    let mut note = |path: String, values: &[String], needs| {
        if !values.is_empty() {
            found.push((path, needs));
        }
    };
    for (i, from) in rule.from.iter().enumerate() {
        let Some(source) = &from.source else { continue };
        let at = |field: &str| format!("from[{i}].source.{field}");
        for (field, values) in [
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ] {
            note(at(field), values, Needs::More);
        }
    }
    for (i, to) in rule.to.iter().enumerate() {
        let Some(operation) = &to.operation else {
            continue;
        };
        let at = |field: &str| format!("to[{i}].operation.{field}");
        for (field, values) in [
            ("hosts", &operation.hosts),
            ("notHosts", &operation.not_hosts),
            ("methods", &operation.methods),
            ("notMethods", &operation.not_methods),
            ("paths", &operation.paths),
            ("notPaths", &operation.not_paths),
        ] {
            note(at(field), values, Needs::Request);
        }
    }
    for (i, when) in rule.when.iter().enumerate() {
        let key = when.key.as_str();
        if CONNECTION_KEYS.contains(&key) {
            continue;
        }
        let more = key == "remote.ip" || key.starts_with("request.auth.");
        let needs = if more { Needs::More } else { Needs::Request };
        found.push((format!("when[{i}] ({key})"), needs));
    }
    found
}
