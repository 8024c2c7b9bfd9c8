//! Labels and annotations of Istio that nothing acts on: an author must not believe in them.
//! Source: istio/api label/labels.yaml, annotation/annotations.yaml.

use super::report::Report;
use crate::error::Code;
use crate::key::Kind;
use crate::object::Object;

/// Annotation, and the kinds on which Istio reads it.
const ANNOTATIONS: [(&str, &[Kind]); 6] = [
    (
        "ambient.istio.io/waypoint-inbound-binding",
        &[Kind::Gateway],
    ),
    (
        "ambient.istio.io/xfcc-include-client-identity",
        &[Kind::Gateway],
    ),
    ("gateway.istio.io/name-override", &[Kind::Gateway]),
    ("gateway.istio.io/service-account", &[Kind::Gateway]),
    ("istio.io/connect-strategy", &[Kind::ServiceEntry]),
    ("istio.io/reroute-virtual-interfaces", &[Kind::Pod]),
];
/// The only revision there is.
const REVISION: (&str, &str) = ("istio.io/rev", "default");

pub(super) fn check(object: &Object, report: &mut Report) {
    let kind = object.kind();
    for (name, kinds) in ANNOTATIONS {
        if kinds.contains(&kind) && object.annotations().contains_key(name) {
            let why = "not supported yet, and has no effect";
            let path = format!("metadata.annotations.{name}");
            report.warn(path, why, Code::Unsupported);
        }
    }
    let (name, own) = REVISION;
    if object
        .labels()
        .get(name)
        .is_some_and(|revision| revision != own)
    {
        let why = "there is one revision of the control plane, which acts on every object";
        report.warn(
            format_args!("metadata.labels.{name}"),
            why,
            Code::Unsupported,
        );
    }
}
