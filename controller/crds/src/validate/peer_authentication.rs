//! PeerAuthentication.

use super::report::Report;
use crate::istio::PeerAuthenticationSpec;

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
    for port in spec.port_level_mtls.keys() {
        if !port.parse::<u16>().is_ok_and(|p| p > 0) {
            report.error(
                format_args!("spec.portLevelMtls.{port}"),
                "the key must be a port between 1 and 65535",
            );
        }
    }
}
