//! ReferenceGrant.

use super::report::Report;
use crate::gateway::ReferenceGrantSpec;

pub(super) fn check(spec: &ReferenceGrantSpec, report: &mut Report) {
    report.required("spec.from", spec.from.is_empty());
    report.required("spec.to", spec.to.is_empty());
    for (i, from) in spec.from.iter().enumerate() {
        let path = format!("spec.from[{i}]");
        report.required(format_args!("{path}.kind"), from.kind.is_empty());
        if from.namespace.is_empty() {
            report.required(format_args!("{path}.namespace"), true);
        } else {
            report.label(format_args!("{path}.namespace"), &from.namespace);
        }
    }
    for (i, to) in spec.to.iter().enumerate() {
        report.required(format_args!("spec.to[{i}].kind"), to.kind.is_empty());
    }
}
