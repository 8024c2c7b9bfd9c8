//! Who this waypoint is: the same for all workers, known at the start.

use ambit_model::address::NetworkAddress;
use ambit_model::ids::{NetworkId, ServiceKey, SpiffeId};
use ambit_model::snapshot::Snapshot;
use ambit_telemetry::logging::Format;
use http::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

/// Who this waypoint is, the same for all workers.
#[derive(Debug)]
pub struct Me {
    /// Our identity.
    pub identity: SpiffeId,
    /// The Gateway we run, `<namespace>/<name>`.
    pub gateway: Arc<str>,
    /// The Service by which workloads name us as their waypoint, unless our own workload says another.
    pub service: ServiceKey,
    /// Our namespace: services visible only there are visible to us.
    pub namespace: String,
    /// Network we are in.
    pub network: NetworkId,
    /// Our pod's address.
    pub ip: Option<IpAddr>,
    /// Facts about us, sent with every stream we open (`baggage`).
    pub baggage: Option<HeaderValue>,
    /// Shape of access lines.
    pub log_format: Format,
}

impl Me {
    /// Whether we are behind a Service: by our own workload, while that is known.
    pub(crate) fn is_behind(&self, mesh: &Snapshot, service: &ServiceKey) -> bool {
        let address = self
            .ip
            .map(|ip| NetworkAddress::new(self.network.clone(), ip));
        match address.and_then(|address| mesh.workload_at(&address)) {
            Some(own) => own.services.contains_key(service),
            None => *service == self.service,
        }
    }
}
