//! What a captured connection is called in metrics and logs, as more of it becomes known.

use crate::flow::Facts;
use ambit_model::ids::SpiffeId;
use ambit_model::service::Service;
use ambit_model::workload::Workload;
use ambit_routing::connection::outbound::{Protocol, Upstream};
use ambit_telemetry::labels::{DestinationService, Peer, SecurityPolicy};
use std::sync::Arc;

/// The pod itself.
pub fn source(facts: &mut Facts, own: &Arc<Workload>) {
    facts.labels.source = Peer::of(own);
    facts.source_workload = Some(own.clone());
}

/// Nobody the mesh knows; at most a service that asks to be left alone.
pub fn passthrough(facts: &mut Facts, service: Option<&Service>) {
    if let Some(service) = service {
        facts.labels.service = DestinationService::of(service);
    }
}

/// Who is dialled. Through a waypoint the workload is the waypoint, the service the one addressed.
pub fn upstream(facts: &mut Facts, upstream: &Upstream) {
    facts.labels.destination = Peer::of(&upstream.workload);
    if let Some(service) = &upstream.service {
        facts.labels.service = DestinationService::of(service);
    }
    facts.destination_workload = Some(upstream.workload.clone());
    facts.destination = upstream.address;
    if let Protocol::Hbone { authority, .. } = &upstream.protocol {
        facts.hbone = Some(authority.clone());
    }
}

/// TLS has proved both ends.
pub fn proved(facts: &mut Facts, own: &SpiffeId, peer: SpiffeId) {
    facts.labels.source.principal = Some(own.clone());
    facts.labels.destination.principal = Some(peer);
    facts.labels.security = SecurityPolicy::MutualTls;
}
