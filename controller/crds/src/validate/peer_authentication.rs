//! PeerAuthentication.

use super::report::Report;
use crate::error::Code;
use crate::istio::{MutualTlsMode, PeerAuthenticationSpec};

/// What is said of a PeerAuthentication with the mode DISABLE: mutual TLS cannot be switched off.
pub const DISABLED: &str =
    "DISABLE acts as PERMISSIVE: plaintext is accepted, members of the mesh go on using mutual TLS";

pub(super) fn check(spec: &PeerAuthenticationSpec, report: &mut Report) {
    let selects = spec
        .selector
        .as_ref()
        .is_some_and(|s| !s.match_labels.is_empty());
    if !spec.port_level_mtls.is_empty() && !selects {
        report.error(
            "spec.portLevelMtls",
            "only allowed together with a selector",
        );
    }
    let whole = spec.mtls.map(|mtls| ("spec.mtls.mode".to_owned(), mtls));
    let ports = spec.port_level_mtls.iter();
    let ports = ports.map(|(port, mtls)| (format!("spec.portLevelMtls.{port}.mode"), *mtls));
    for (path, mtls) in whole.into_iter().chain(ports) {
        if mtls.mode == MutualTlsMode::Disable {
            report.warn(path, DISABLED, Code::Unsupported);
        }
    }
    for port in spec.port_level_mtls.keys() {
        if !port.parse::<u16>().is_ok_and(|p| p > 0) {
            report.error(
                format_args!("spec.portLevelMtls.{port}"),
                "the key must be a port between 1 and 65535",
            );
        }
    }
}
