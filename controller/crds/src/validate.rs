//! Meaning of one object, apart from all others: ranges, required and exclusive fields, expressions.
//! In: a parsed [`Object`]. Out: every mistake at once, warnings among them.
//! Must not: look at another object; cross-object checks belong to the index and `analyze`.

mod authorization;
mod destination_rule;
mod gateway;
mod grpc_route;
mod http_route;
mod istio_gateway;
mod labels;
mod peer_authentication;
mod reference_grant;
mod report;
mod service_entry;
mod virtual_service;
mod workload_entry;

use crate::error::{Code, FieldError};
use crate::object::{Object, no_effect};
pub use peer_authentication::DISABLED;
use report::Report;

/// Judges one object. Only findings of [`crate::Severity::Error`] make it unusable.
pub fn validate(object: &Object) -> Vec<FieldError> {
    let mut report = Report::new(object);
    match object {
        Object::VirtualService(o) => virtual_service::check(&o.spec, &mut report),
        Object::DestinationRule(o) => destination_rule::check(&o.spec, &mut report),
        Object::AuthorizationPolicy(o) => {
            let namespace = o.metadata.namespace.as_deref().unwrap_or("");
            authorization::check(&o.spec, namespace, &mut report);
        }
        Object::PeerAuthentication(o) => peer_authentication::check(&o.spec, &mut report),
        Object::Gateway(o) => {
            gateway::check(&o.spec, &mut report);
            gateway::check_annotations(object, &mut report);
        }
        Object::GatewayClass(_) => gateway::check_annotations(object, &mut report),
        Object::IstioGateway(o) => istio_gateway::check(&o.spec, &mut report),
        Object::HttpRoute(o) => http_route::check(&o.spec, &mut report),
        Object::GrpcRoute(o) => grpc_route::check(o, &mut report),
        Object::ReferenceGrant(o) => reference_grant::check(&o.spec, &mut report),
        Object::ServiceEntry(o) => service_entry::check(&o.spec, object, &mut report),
        Object::Unserved(o) => report.warn("kind", no_effect(&o.kind), Code::Unsupported),
        Object::WorkloadEntry(o) => workload_entry::check(&o.spec, "spec", &mut report),
        // The API server's own kinds are judged where they are read, field by field.
        Object::Namespace(_)
        | Object::Node(_)
        | Object::ServiceAccount(_)
        | Object::Pod(_)
        | Object::Service(_)
        | Object::ConfigMap(_)
        | Object::EndpointSlice(_)
        | Object::Other(_) => {}
    }
    labels::check(object, &mut report);
    report.finish()
}
