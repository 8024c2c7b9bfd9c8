//! Gateway of networking.istio.io.

use super::report::{Report, clip};
use crate::istio::IstioGatewaySpec;

/// Ports of the proxy itself.
const OWN: [u16; 4] = [15000, 15008, 15020, 15021];

pub(super) fn check(spec: &IstioGatewaySpec, report: &mut Report) {
    report.required("spec.servers", spec.servers.is_empty());
    for (i, server) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{i}]");
        let port = &server.port;
        report.port(format_args!("{path}.port.number"), port.number);
        if OWN.contains(&port.number) {
            let reason = "is one of the proxy's own";
            report.error(format_args!("{path}.port.number"), reason);
        }
        let protocol = port.protocol.as_str();
        report.required(format_args!("{path}.port.protocol"), protocol.is_empty());
        if !protocol.is_empty() && !server.is_http() {
            // The server is left out; those of plaintext HTTP beside it are served.
            let reason = format!("protocol {} is not supported yet", clip(protocol));
            let path = format!("{path}.port.protocol");
            report.warn(path, reason, crate::error::Code::Unsupported);
        } else if server.tls.is_some() {
            let reason = "not supported yet: only plaintext HTTP is served";
            report.unsupported(format_args!("{path}.tls"), reason);
        }
        report.required(format_args!("{path}.hosts"), server.hosts.is_empty());
        for (j, host) in server.hosts.iter().enumerate() {
            let host = host.split_once('/').map_or(host.as_str(), |(_, host)| host);
            report.host(format_args!("{path}.hosts[{j}]"), host, true);
        }
    }
}
