//! One CONNECT stream or plaintext connection: who opened it and what it addressed.
//! In: the CONNECT and the tunnel it came by, or the listener. Out: [`Downstream`], shared by all
//! requests on it.

use crate::state::View;
use crate::worker::Worker;
use ambit_hbone::wire::Baggage;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::SpiffeId;
use ambit_model::route::Router;
use ambit_model::service::Service;
use ambit_model::workload::Workload;
use ambit_telemetry::labels::{DestinationService, Peer};
use http::HeaderValue;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tracing::field::DisplayValue;

/// One CONNECT stream or plaintext connection and what is known of it.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    /// Who the client proved to be; `None` where nobody asked, on a plaintext listener.
    pub(crate) identity: Option<SpiffeId>,
    /// The same as applications are told.
    pub(crate) certificate: Option<HeaderValue>,
    /// Where it is.
    pub(crate) client: SocketAddr,
    /// Labels of the source: the client, or this gateway for what comes from outside the mesh.
    pub(crate) source: Peer,
    /// What it addressed.
    pub(crate) addressed: Addressed,
    /// The address it addressed.
    pub(crate) local: SocketAddr,
}

/// What a stream addressed.
#[derive(Clone, Debug)]
pub(crate) enum Addressed {
    /// A plaintext listener: each request names its virtual host.
    Listener,
    /// A service whose routes we run.
    Service(Arc<Service>),
    /// A pod whose waypoint we are.
    Pod {
        /// Which.
        workload: Arc<Workload>,
        /// Leads there and nowhere else.
        router: Arc<Router>,
    },
}

impl Downstream {
    /// Whether it came in plaintext from outside the mesh.
    pub(crate) fn is_from_outside(&self) -> bool {
        matches!(self.addressed, Addressed::Listener)
    }

    /// The address of a service that the client dialled; `None` if it dialled a listener of ours.
    pub(crate) fn dialled(&self) -> Option<SocketAddr> {
        (!self.is_from_outside()).then_some(self.local)
    }

    /// The proved identity, for logs.
    pub(crate) fn identity_shown(&self) -> Option<DisplayValue<&SpiffeId>> {
        self.identity.as_ref().map(tracing::field::display)
    }
}

impl Addressed {
    /// What is done with requests to `port`; of a listener, with those for `authority`.
    pub(crate) fn router(
        &self,
        view: &View,
        (port, authority): (u16, &str),
    ) -> Option<Arc<Router>> {
        match self {
            Self::Listener => view.virtual_host(port, authority).cloned(),
            Self::Service(service) => view.router(&service.key, port).cloned(),
            Self::Pod { router, .. } => Some(router.clone()),
        }
    }

    /// Its labels; a pod is no service, and of a listener the destination tells.
    pub(crate) fn labels(&self) -> DestinationService {
        match self {
            Self::Service(service) => DestinationService::of(service),
            Self::Listener | Self::Pod { .. } => DestinationService::default(),
        }
    }
}

impl fmt::Display for Addressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("plaintext listener"),
            Self::Service(service) => write!(f, "{}", service.key),
            Self::Pod { workload, .. } => write!(f, "pod {}/{}", workload.namespace, workload.name),
        }
    }
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
