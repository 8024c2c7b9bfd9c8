//! ServiceEntry.

mod dynamic;
mod ports;

use super::report::{Report, clip};
use super::workload_entry;
use crate::error::Code;
use crate::istio::{Resolution, ServiceEntrySpec};
use crate::object::Object;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Label `false`: no address is allocated.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";
/// Annotation: how addresses of a name are connected to, and its only value.
const CONNECT_STRATEGY: &str = "istio.io/connect-strategy";
const RACE: &str = "RACE_FIRST_TCP_CONNECT";

pub(super) fn check(spec: &ServiceEntrySpec, object: &Object, report: &mut Report) {
    let labels = object.labels();
    check_hosts(&spec.hosts, report);
    check_addresses(spec, labels, report);
    ports::check(&spec.ports, report);
    if spec.resolution == Resolution::DynamicDns {
        dynamic::check(spec, labels, report);
    } else {
        check_endpoints(spec, report);
    }
    if let Some(strategy) = object.annotations().get(CONNECT_STRATEGY) {
        check_strategy(strategy, spec.resolution, report);
    }
    report.export_to(&spec.export_to);
}

fn check_strategy(strategy: &str, resolution: Resolution, report: &mut Report) {
    let reason = if !strategy.eq_ignore_ascii_case(RACE) {
        format!("`{}` is no strategy; there is {RACE}", clip(strategy))
    } else if !resolution.by_name() {
        "has no effect without resolution DNS: there are no addresses to choose from".to_owned()
    } else {
        return;
    };
    let path = format_args!("metadata.annotations.{CONNECT_STRATEGY}");
    report.warn(path, reason, Code::IneffectiveMatch);
}

fn check_hosts(hosts: &[String], report: &mut Report) {
    report.required("spec.hosts", hosts.is_empty());
    let mut seen = HashSet::new();
    for (i, host) in hosts.iter().enumerate() {
        let path = format!("spec.hosts[{i}]");
        if host == "*" {
            report.error(path, "`*` alone is no host of a service");
        } else if host.parse::<IpAddr>().is_ok() {
            report.error(path, "must be a name; addresses belong in spec.addresses");
        } else if !seen.insert(host.to_ascii_lowercase()) {
            report.error(path, format_args!("`{}` is repeated", clip(host)));
        } else {
            report.host(path, host, true);
        }
    }
}

fn check_addresses(
    spec: &ServiceEntrySpec,
    labels: &BTreeMap<String, String>,
    report: &mut Report,
) {
    for (i, address) in spec.addresses.iter().enumerate() {
        let path = format!("spec.addresses[{i}]");
        if address.parse::<IpAddr>().is_ok() {
            continue;
        }
        match address.parse::<IpNet>() {
            Err(_) => report.error(
                path,
                format_args!("`{}` is no IP address and no block", clip(address)),
            ),
            Ok(net) if spec.resolution.by_name() && net.prefix_len() < net.max_prefix_len() => {
                report.error(path, "a block needs resolution NONE or STATIC");
            }
            Ok(_) => {}
        }
    }
    if !spec.addresses.is_empty() {
        return;
    }
    let opted_out = labels
        .get(AUTO_ALLOCATE)
        .is_some_and(|v| v.eq_ignore_ascii_case("false"));
    let why = if spec.resolution == Resolution::None {
        "with resolution NONE no address is allocated; without one its traffic passes as unknown"
    } else if opted_out {
        "allocation is switched off by a label; without an address its traffic passes as unknown"
    } else if spec.resolution != Resolution::DynamicDns
        && spec.hosts.iter().any(|host| host.starts_with('*'))
    {
        "no address is allocated for a wildcard; without one its traffic passes as unknown"
    } else {
        return;
    };
    report.warn("spec.addresses", why, Code::AddressesRequired);
}

fn check_endpoints(spec: &ServiceEntrySpec, report: &mut Report) {
    let selects = spec.workload_selector.is_some();
    let fields = [
        ("endpoints", !spec.endpoints.is_empty()),
        ("workloadSelector", selects),
    ];
    report.exclusive("spec", &fields);
    if let Some(selector) = &spec.workload_selector
        && selector.labels.is_empty()
    {
        let reason = "no labels, so it selects nothing";
        report.warn(
            "spec.workloadSelector.labels",
            reason,
            Code::IneffectiveMatch,
        );
    }
    match spec.resolution {
        Resolution::None if !spec.endpoints.is_empty() || selects => {
            let reason =
                "not allowed with resolution NONE, which keeps the address that was dialled";
            let path = if selects {
                "spec.workloadSelector"
            } else {
                "spec.endpoints"
            };
            report.error(path, reason);
        }
        Resolution::Static if spec.endpoints.is_empty() && !selects => {
            report.error(
                "spec.endpoints",
                "required with resolution STATIC, unless workloadSelector is set",
            );
        }
        Resolution::Dns | Resolution::DnsRoundRobin if spec.endpoints.is_empty() && !selects => {
            for (i, host) in spec.hosts.iter().enumerate() {
                if host.contains('*') {
                    let reason = "a wildcard cannot be resolved; give endpoints";
                    report.error(format_args!("spec.hosts[{i}]"), reason);
                }
            }
        }
        _ => {}
    }
    if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        report.error("spec.endpoints", "DNS_ROUND_ROBIN takes one endpoint");
    }
    check_each(spec, report);
}

fn check_each(spec: &ServiceEntrySpec, report: &mut Report) {
    for (i, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{i}]");
        workload_entry::check(endpoint, &path, report);
        let named = !endpoint.address.is_empty() && endpoint.address.parse::<IpAddr>().is_err();
        if spec.resolution == Resolution::Static && named {
            let reason = "must be an IP address with resolution STATIC";
            report.error(format_args!("{path}.address"), reason);
        }
        for name in endpoint.ports.keys() {
            if spec.ports.iter().all(|port| port.name != *name) {
                let reason = "no port of the service has that name";
                report.error(format_args!("{path}.ports.{}", clip(name)), reason);
            }
        }
    }
}
