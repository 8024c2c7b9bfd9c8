//! How one reaches a gateway: a waypoint, or the way into another network.
//! Source: `istio.workload.GatewayAddress`.

use crate::address::NetworkAddress;
use crate::ids::ServiceKey;
use serde::Serialize;

/// Where a gateway is (`istio.workload.GatewayAddress`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct GatewayAddress {
    /// What to look up.
    pub destination: GatewayDestination,
    /// Port of its HBONE listener, 15008 unless said otherwise.
    pub hbone_port: u16,
}

/// What names a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum GatewayDestination {
    /// A service.
    Hostname(ServiceKey),
    /// An address of a workload or a service.
    Address(NetworkAddress),
}

/// One of several waypoints (`istio.workload.WeightedWaypoint`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightedWaypoint {
    /// Where.
    pub destination: GatewayAddress,
    /// Share, relative to the others.
    pub weight: u32,
}
