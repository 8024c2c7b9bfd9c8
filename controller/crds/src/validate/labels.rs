//! Labels and annotations of Istio that nothing acts on: an author must not believe in them.
//! Source: istio/api label/labels.yaml, annotation/annotations.yaml.

use super::report::Report;
use crate::error::Code;
use crate::key::Kind;
use crate::object::Object;
use std::collections::BTreeMap;

/// Label, and the kinds on which Istio reads it.
const LABELS: [(&str, &[Kind]); 1] = [(
    "istio.io/use-waypoint-canary",
    &[Kind::Service, Kind::ServiceEntry, Kind::Namespace],
)];
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
    let (labels, annotations) = (object.labels(), object.annotations());
    find(&LABELS, (&kind, labels, "labels"), report);
    find(&ANNOTATIONS, (&kind, annotations, "annotations"), report);
    let (name, own) = REVISION;
    if labels.get(name).is_some_and(|revision| revision != own) {
        let why = "there is one revision of the control plane, which acts on every object";
        report.warn(
            format_args!("metadata.labels.{name}"),
            why,
            Code::Unsupported,
        );
    }
}

fn find(
    names: &[(&str, &[Kind])],
    (kind, given, place): (&Kind, &BTreeMap<String, String>, &str),
    report: &mut Report,
) {
    for (name, kinds) in names {
        if kinds.contains(kind) && given.contains_key(*name) {
            let why = "not supported yet, and has no effect";
            report.warn(
                format_args!("metadata.{place}.{name}"),
                why,
                Code::Unsupported,
            );
        }
    }
}
