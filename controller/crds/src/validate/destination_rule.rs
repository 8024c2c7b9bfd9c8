//! DestinationRule.

use super::report::Report;
use super::virtual_service::check_subset_name;
use crate::error::Code;
use crate::istio::{DestinationRuleSpec, SimpleLoadBalancer, TlsMode, TrafficPolicy};
use std::collections::HashSet;
use std::time::Duration;

pub(super) fn check(spec: &DestinationRuleSpec, report: &mut Report) {
    if spec.host.is_empty() {
        report.error("spec.host", "required");
    } else {
        report.host("spec.host", &spec.host, true);
    }
    report.export_to(&spec.export_to);
    let mut names = HashSet::new();
    for (i, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{i}]");
        check_subset_name(&subset.name, &format!("{path}.name"), report);
        if !names.insert(&subset.name) {
            report.error(format_args!("{path}.name"), "used by an earlier subset");
        }
        if subset.labels.is_empty() {
            let reason = "no labels, so the subset is the whole service";
            report.warn(
                format_args!("{path}.labels"),
                reason,
                Code::IneffectiveMatch,
            );
        }
    }
    if let Some(policy) = &spec.traffic_policy {
        check_policy(policy, report);
    }
}

fn check_policy(policy: &TrafficPolicy, report: &mut Report) {
    let simple = policy.load_balancer.as_ref().and_then(|lb| lb.simple);
    if simple == Some(SimpleLoadBalancer::Passthrough) {
        report.unsupported(
            "spec.trafficPolicy.loadBalancer.simple",
            "PASSTHROUGH is not supported yet",
        );
    }
    let timeout = policy
        .connection_pool
        .as_ref()
        .and_then(|p| p.tcp.as_ref())
        .and_then(|t| t.connect_timeout);
    if timeout.is_some_and(|t| t < Duration::from_millis(1)) {
        report.error(
            "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
            "must be at least 1ms",
        );
    }
    if let Some(mode @ (TlsMode::Simple | TlsMode::Mutual)) =
        policy.tls.as_ref().and_then(|t| t.mode)
    {
        let name = if mode == TlsMode::Simple {
            "SIMPLE"
        } else {
            "MUTUAL"
        };
        report.unsupported(
            "spec.trafficPolicy.tls.mode",
            format_args!("{name} is not supported yet"),
        );
    }
}
