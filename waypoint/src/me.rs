//! Who this waypoint is: the same for all workers, known at the start.

use ambit_model::ids::{NetworkId, ServiceKey, SpiffeId};
use ambit_telemetry::logging::Format;
use http::HeaderValue;
use std::sync::Arc;

/// Who this waypoint is, the same for all workers.
#[derive(Debug)]
pub struct Me {
    /// Our identity.
    pub identity: SpiffeId,
    /// The Gateway we run, `<namespace>/<name>`.
    pub gateway: Arc<str>,
    /// The Service by which workloads name us as their waypoint.
    pub service: ServiceKey,
    /// Our namespace: services visible only there are visible to us.
    pub namespace: String,
    /// Network we are in.
    pub network: NetworkId,
    /// Facts about us, sent with every stream we open (`baggage`).
    pub baggage: Option<HeaderValue>,
    /// Shape of access lines.
    pub log_format: Format,
}
