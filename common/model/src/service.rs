//! A hostname with virtual addresses and ports.
//! Source: `istio.workload.Service`; conversions in `convert::service`.

use crate::address::VirtualAddress;
use crate::ids::{ServiceKey, SpiffeId};
use crate::waypoint::{GatewayAddress, WeightedWaypoint};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A service (`istio.workload.Service`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Primary key.
    pub key: ServiceKey,
    /// Object name.
    pub name: Arc<str>,
    /// Virtual addresses; empty for a headless service.
    pub addresses: Vec<VirtualAddress>,
    /// Service port → how to reach it.
    pub ports: BTreeMap<u16, ServicePort>,
    /// Identities accepted beside the selected workload's own.
    pub subject_alt_names: Vec<SpiffeId>,
    /// Proxy in front of it.
    pub waypoint: Option<GatewayAddress>,
    /// Several proxies with weights; used when not empty and some weight is not 0.
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// Address families it answers in.
    pub ip_families: IpFamilies,
    /// Preferred when several namespaces define the hostname.
    pub canonical: bool,
    /// Who may see it.
    pub visibility: Visibility,
}

/// One port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePort {
    /// 0: named, each endpoint resolves it.
    pub target_port: u16,
    /// What is spoken on it.
    pub app_protocol: AppProtocol,
}

/// What is spoken on a port (`istio.workload.AppProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AppProtocol {
    /// Not declared.
    Unknown,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
    /// TLS, not terminated by us.
    Tls,
}

/// How an endpoint is chosen (`istio.workload.LoadBalancing`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadBalancing {
    /// Scopes compared in this order.
    pub preference: Vec<Scope>,
    /// What the comparison means.
    pub mode: LoadBalancingMode,
    /// Endpoints that are not healthy take traffic too.
    pub allow_unhealthy: bool,
}

/// What preferring a scope means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LoadBalancingMode {
    /// Preferences are ignored.
    #[default]
    Any,
    /// All scopes must match.
    Strict,
    /// The longest matching prefix of the scopes wins.
    Failover,
    /// No choice: the original destination.
    Passthrough,
}

/// A part of locality that may be preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Scope {
    /// Same region.
    Region,
    /// Same zone.
    Zone,
    /// Same subzone.
    Subzone,
    /// Same node.
    Node,
    /// Same cluster.
    Cluster,
    /// Same network.
    Network,
}

/// Address families (`istio.workload.IPFamilies`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum IpFamilies {
    /// Those of its addresses.
    #[default]
    Automatic,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// Whether an address of this family may be used.
    pub fn allows(self, ip: std::net::IpAddr) -> bool {
        match self {
            Self::Automatic | Self::Dual => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// Who may see a service (`istio.workload.Service.visibility`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Visibility {
    /// Everyone.
    #[default]
    Public,
    /// Clients of its own namespace.
    Namespace,
}
