//! WorkloadEntry, and endpoints of ServiceEntries.

use super::report::{Report, clip};
use crate::istio::WorkloadEntrySpec;
use crate::object::is_dns_subdomain;
use std::net::IpAddr;

/// Longest share that is told apart from others.
const MOST_WEIGHT: u32 = 128 * 1024;

pub(super) fn check(spec: &WorkloadEntrySpec, path: &str, report: &mut Report) {
    check_address(&spec.address, &format!("{path}.address"), report);
    for (name, port) in &spec.ports {
        report.port(format_args!("{path}.ports.{}", clip(name)), *port);
    }
    if spec.weight > MOST_WEIGHT {
        let reason = format!("must be at most {MOST_WEIGHT}");
        report.error(format_args!("{path}.weight"), reason);
    }
    if spec.locality.split('/').count() > 3 {
        let reason = "must be region, region/zone or region/zone/subzone";
        report.error(format_args!("{path}.locality"), reason);
    }
    if !spec.service_account.is_empty() && !is_dns_subdomain(&spec.service_account) {
        let reason = "is not the name of a service account";
        report.error(format_args!("{path}.serviceAccount"), reason);
    }
}

fn check_address(address: &str, path: &str, report: &mut Report) {
    if address.is_empty() {
        report.error(path, "required");
    } else if address.starts_with("unix:") {
        report.unsupported(path, "sockets of the file system are not supported yet");
    } else if let Ok(ip) = address.parse::<IpAddr>() {
        if ip.is_unspecified() || ip.is_multicast() {
            report.error(path, "is the address of nobody");
        }
    } else {
        report.host(path, address, false);
    }
}
