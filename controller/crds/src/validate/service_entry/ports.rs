//! Ports of a ServiceEntry.

use crate::error::Code;
use crate::istio::EntryPort;
use crate::validate::report::{Report, clip};
use std::collections::HashSet;

/// What `protocol` may say, in any case; empty is any protocol.
const PROTOCOLS: [&str; 12] = [
    "HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB", "TCP", "TLS", "MONGO", "MYSQL", "REDIS", "UDP",
    "",
];

pub(super) fn check(ports: &[EntryPort], report: &mut Report) {
    if ports.is_empty() {
        let reason = "without ports it takes no connection";
        report.warn("spec.ports", reason, Code::IneffectiveMatch);
    }
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for (i, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        report.port(format_args!("{path}.number"), port.number);
        if !numbers.insert(port.number) {
            report.error(format_args!("{path}.number"), "used by an earlier port");
        }
        report.required(format_args!("{path}.name"), port.name.is_empty());
        if !port.name.is_empty() && !names.insert(&port.name) {
            report.error(format_args!("{path}.name"), "used by an earlier port");
        }
        if let Some(target) = port.target_port {
            report.port(format_args!("{path}.targetPort"), target);
        }
        let protocol = port.protocol.to_ascii_uppercase();
        if !PROTOCOLS.contains(&protocol.as_str()) {
            let reason = format!("`{}` is no protocol", clip(&port.protocol));
            report.error(format_args!("{path}.protocol"), reason);
        } else if protocol == "UDP" {
            let reason = "UDP is not carried; the port is left out";
            report.warn(format_args!("{path}.protocol"), reason, Code::Unsupported);
        }
    }
}
