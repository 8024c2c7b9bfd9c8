//! Labels and annotations of Istio that have no effect as they are: an author must not believe in them.
//! Source: istio/api label/labels.yaml, annotation/annotations.yaml.

use super::report::Report;
use crate::error::Code;
use crate::key::Kind;
use crate::object::Object;

/// Pod annotation: interfaces inside it.
const INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
/// `IFNAMSIZ`, with the byte that ends it.
const LONGEST_NAME: usize = 16;

pub(super) fn check(object: &Object, report: &mut Report) {
    interfaces(object, report);
}

/// Names that the node would pass over.
fn interfaces(object: &Object, report: &mut Report) {
    let named = object.annotations().get(INTERFACES);
    let Some(names) = named.filter(|_| object.kind() == Kind::Pod) else {
        return;
    };
    for name in names.split(',').map(str::trim) {
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
        if name.is_empty() || name.len() >= LONGEST_NAME || name.contains(odd) {
            let why = format!("{name:?} is no name of an interface, and has no effect");
            report.warn(
                format_args!("metadata.annotations.{INTERFACES}"),
                why,
                Code::Schema,
            );
        }
    }
}
