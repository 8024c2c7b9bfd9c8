//! One CONNECT stream: who opened it and what it addressed.
//! In: the CONNECT and the tunnel it came by. Out: [`Downstream`], shared by all requests on it.

use crate::worker::Worker;
use ambit_hbone::wire::Baggage;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::SpiffeId;
use ambit_model::service::Service;
use ambit_telemetry::labels::Peer;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// One CONNECT stream and what is known of it.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    /// Who the client proved to be.
    pub(crate) identity: SpiffeId,
    /// Where it is.
    pub(crate) client: SocketAddr,
    /// Its labels.
    pub(crate) source: Peer,
    /// What it addressed.
    pub(crate) service: Arc<Service>,
    /// The address it addressed.
    pub(crate) local: SocketAddr,
}

/// Labels of the client: those of the workload at its address if that has the identity TLS proved,
/// else what its node proxy says of it.
pub(crate) fn source(
    worker: &Worker,
    identity: &SpiffeId,
    client: SocketAddr,
    baggage: &Baggage,
) -> Peer {
    let view = worker.state.load();
    let address = NetworkAddress::new(worker.me.network.clone(), client.ip());
    let principal = Some(identity.clone());
    if let Some(workload) = view.mesh.workload_at(&address)
        && &workload.identity == identity
    {
        return Peer::of(workload).with_principal(principal);
    }
    Peer {
        workload: baggage
            .workload
            .as_ref()
            .map_or_else(|| Arc::from(""), |(_, n)| (&**n).into()),
        namespace: identity.namespace().into(),
        canonical_service: (&*baggage.service).into(),
        canonical_revision: (&*baggage.version).into(),
        principal,
        cluster: (&*baggage.cluster).into(),
        region: (&*baggage.region).into(),
        zone: (&*baggage.zone).into(),
    }
}
