//! What a connection into a pod is called in metrics and logs.

use crate::flow::Facts;
use ambit_hbone::wire::Baggage;
use ambit_model::Snapshot;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::{NetworkId, SpiffeId};
use ambit_model::service::Service;
use ambit_model::workload::Workload;
use ambit_telemetry::labels::{DestinationService, Peer, SecurityPolicy};
use std::sync::Arc;

/// What a tunnel says of its client beside what TLS proved.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// From the certificate.
    pub identity: &'a SpiffeId,
    /// From the request; used only for a client the mesh does not show us.
    pub baggage: &'a Baggage,
}

/// The pod itself.
pub fn destination(facts: &mut Facts, own: &Arc<Workload>) {
    facts.labels.destination = Peer::of(own);
    facts.destination_workload = Some(own.clone());
}

/// The client, by its address; one whose identity is not that of the certificate is not it.
pub fn source(
    facts: &mut Facts,
    snapshot: &Snapshot,
    network: &NetworkId,
    claims: Option<Claims<'_>>,
) {
    let address = NetworkAddress::new(network.clone(), facts.source.ip());
    let found = snapshot
        .workload_at(&address)
        .filter(|w| claims.is_none_or(|c| &w.identity == c.identity));
    match (found, claims) {
        (Some(workload), _) => {
            facts.labels.source = Peer::of(workload);
            facts.source_workload = Some(workload.clone());
        }
        (None, Some(claims)) => facts.labels.source = claimed(claims),
        (None, None) => {}
    }
}

/// TLS has proved who the client is.
pub fn peer(facts: &mut Facts, peer: &SpiffeId) {
    facts.labels.source.principal = Some(peer.clone());
}

/// TLS has proved both ends.
pub fn proved(facts: &mut Facts, own: &SpiffeId, peer: &SpiffeId) {
    self::peer(facts, peer);
    facts.labels.destination.principal = Some(own.clone());
    facts.labels.security = SecurityPolicy::MutualTls;
}

/// The service that was addressed: the one the client names, else one of the pod's services with
/// that target port.
pub fn service(
    facts: &mut Facts,
    snapshot: &Snapshot,
    own: &Workload,
    (named, port): (Option<&str>, u16),
) {
    let mine = own
        .services
        .iter()
        .filter_map(|(key, ports)| snapshot.service(key).map(|service| (service, ports)));
    let mut by_port: Option<&Arc<Service>> = None;
    for (service, ports) in mine {
        if named == Some(&*service.key.hostname) {
            facts.labels.service = DestinationService::of(service);
            return;
        }
        if by_port.is_none() && ports.values().any(|target| *target == port) {
            by_port = Some(service);
        }
    }
    if let Some(service) = by_port {
        facts.labels.service = DestinationService::of(service);
    }
}

fn claimed(claims: Claims<'_>) -> Peer {
    let baggage = claims.baggage;
    Peer {
        workload: baggage
            .workload
            .as_ref()
            .map(|(_, name)| Arc::from(&**name))
            .unwrap_or_default(),
        // The namespace is proved; a claim of another one is not believed.
        namespace: claims.identity.namespace().into(),
        canonical_service: (&*baggage.service).into(),
        canonical_revision: (&*baggage.version).into(),
        principal: None,
        cluster: (&*baggage.cluster).into(),
        region: (&*baggage.region).into(),
        zone: (&*baggage.zone).into(),
    }
}
