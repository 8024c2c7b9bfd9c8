//! One addressable instance: a pod, a VM, an external endpoint.
//! Source: `istio.workload.Workload`; conversions in `convert::workload`.

use crate::address::NetworkAddress;
use crate::ids::{NetworkId, PolicyKey, ServiceKey, SpiffeId, WorkloadUid};
use crate::waypoint::GatewayAddress;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A workload (`istio.workload.Workload`, field numbers in the proto source).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// Primary key.
    pub uid: WorkloadUid,
    /// Object name, for a pod the pod's.
    pub name: Arc<str>,
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Empty when `hostname` is set or the network is remote.
    pub addresses: Vec<IpAddr>,
    /// Resolved on demand when there is no address; else empty.
    pub hostname: Arc<str>,
    /// Network of `addresses`.
    pub network: NetworkId,
    /// How to reach it.
    pub tunnel: TunnelProtocol,
    /// Terminates HBONE itself, without a node proxy.
    pub native_tunnel: bool,
    /// Who it is.
    pub identity: SpiffeId,
    /// Proxy in front of workload-addressed traffic.
    pub waypoint: Option<GatewayAddress>,
    /// Gateway to its network, when that is not ours.
    pub network_gateway: Option<GatewayAddress>,
    /// Kubernetes node.
    pub node: Arc<str>,
    /// Telemetry names.
    pub canonical: Canonical,
    /// Owner kind, for telemetry.
    pub workload_type: WorkloadType,
    /// Owner name, for telemetry.
    pub workload_name: Arc<str>,
    /// Cluster it runs in.
    pub cluster_id: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// Ready to take traffic.
    pub health: Health,
    /// Shares its node's address.
    pub host_network: bool,
    /// PROXY-protocol tunnel in front of the application, if any.
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Policies with a selector that name it.
    pub policies: Vec<PolicyKey>,
    /// Services it backs: service port → target port (host order).
    pub services: BTreeMap<ServiceKey, BTreeMap<u16, u16>>,
    /// Load-balancing weight, 1 by default.
    pub capacity: u32,
}

impl Workload {
    /// The keys by which an address finds it; none with host networking.
    pub fn network_addresses(&self) -> impl Iterator<Item = NetworkAddress> + '_ {
        let indexed = !self.host_network;
        self.addresses
            .iter()
            .filter(move |_| indexed)
            .map(|ip| NetworkAddress::new(self.network.clone(), *ip))
    }
}

/// How a workload takes traffic (`istio.workload.TunnelProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TunnelProtocol {
    /// Plain TCP.
    None,
    /// Mutual TLS with CONNECT streams on port 15008.
    Hbone,
}

/// Telemetry names (`service.istio.io/canonical-{name,revision}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Canonical {
    /// Canonical service.
    pub name: Arc<str>,
    /// Canonical revision.
    pub revision: Arc<str>,
}

/// Kind of the workload's owner (`istio.workload.WorkloadType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WorkloadType {
    /// Deployment.
    Deployment,
    /// CronJob.
    CronJob,
    /// Pod.
    Pod,
    /// Job.
    Job,
}

impl WorkloadType {
    /// Word used in baggage keys and config dumps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::CronJob => "cronjob",
            Self::Pod => "pod",
            Self::Job => "job",
        }
    }
}

/// Readiness (`istio.workload.WorkloadStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Health {
    /// Takes traffic.
    Healthy,
    /// Takes traffic only from services that allow it.
    Unhealthy,
}

/// Where something runs (`istio.workload.Locality`); empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Locality {
    /// `topology.kubernetes.io/region`.
    pub region: Arc<str>,
    /// `topology.kubernetes.io/zone`.
    pub zone: Arc<str>,
    /// `topology.istio.io/subzone`.
    pub subzone: Arc<str>,
}

/// A tunnel inside the pod (`istio.workload.ApplicationTunnel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ApplicationTunnel {
    /// Speaks the PROXY protocol.
    pub proxy_protocol: bool,
    /// 0: the port addressed.
    pub port: u16,
}
