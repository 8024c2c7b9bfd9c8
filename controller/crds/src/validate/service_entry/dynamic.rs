//! ServiceEntries of wildcards whose names are resolved request by request.
//! Source: Istio's validation of `DYNAMIC_DNS`.

use crate::error::Code;
use crate::istio::{EntryPort, Location, ServiceEntrySpec};
use crate::validate::report::Report;
use std::collections::BTreeMap;

/// Label that names a waypoint; `none` is none.
const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Protocols in which a request names its host.
const HTTP: [&str; 3] = ["HTTP", "HTTP2", "GRPC"];

pub(super) fn check(
    spec: &ServiceEntrySpec,
    labels: &BTreeMap<String, String>,
    report: &mut Report,
) {
    for (i, host) in spec.hosts.iter().enumerate() {
        if !host.starts_with('*') {
            let reason = "must be a wildcard with resolution DYNAMIC_DNS";
            report.error(format_args!("spec.hosts[{i}]"), reason);
        }
    }
    let unheeded = [
        ("spec.addresses", !spec.addresses.is_empty()),
        ("spec.endpoints", !spec.endpoints.is_empty()),
        ("spec.workloadSelector", spec.workload_selector.is_some()),
    ];
    for (path, is_set) in unheeded {
        if is_set {
            let reason =
                "not allowed with resolution DYNAMIC_DNS: hosts of requests lead to addresses";
            report.error(path, reason);
        }
    }
    for (i, port) in spec.ports.iter().enumerate() {
        check_port(port, &format!("spec.ports[{i}].protocol"), report);
    }
    let bound = labels.get(USE_WAYPOINT).is_some_and(|name| name != "none");
    if spec.location == Location::MeshInternal && bound {
        let reason = "MESH_INTERNAL is not supported with resolution DYNAMIC_DNS at a waypoint";
        report.error("spec.location", reason);
    }
}

fn check_port(port: &EntryPort, path: &str, report: &mut Report) {
    let protocol = port.protocol.to_ascii_uppercase();
    if protocol == "TLS" {
        let reason = "with resolution DYNAMIC_DNS server names of TLS are not followed, since clients \
                      choose them freely; connections to this port are refused";
        report.warn(path, reason, Code::Unsupported);
    } else if !HTTP.contains(&protocol.as_str()) {
        let reason = "resolution DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS";
        report.error(path, reason);
    }
}
