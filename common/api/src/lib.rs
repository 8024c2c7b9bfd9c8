//! Wire types and fixed names. Generated protobuf messages, ports, labels, headers, metric names.
//! No logic lives here; gRPC stubs live in the crates that serve or call them.
#![forbid(unsafe_code)]

pub mod headers;
pub mod labels;
pub mod metric_names;
pub mod ports;

/// `istio.workload`: workloads and services on the `Address` stream.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod workload {
    include!("gen/istio.workload.rs");
}
/// `istio.security`: L4 authorization.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod security {
    include!("gen/istio.security.rs");
}
/// `istio.workload.zds`: agent to node proxy.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod zds {
    include!("gen/istio.workload.zds.rs");
}
/// `istio.v1.auth`: certificate signing.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod ca {
    include!("gen/istio.v1.auth.rs");
}
/// `envoy.service.discovery.v3`: incremental xDS.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod discovery {
    include!("gen/envoy.service.discovery.v3.rs");
}
/// `ambit.route.v1`: the L7 intermediate representation.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod route {
    include!("gen/ambit.route.v1.rs");
}

/// xDS type URLs.
pub mod type_urls {
    /// `istio.workload.Address`.
    pub const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
    /// `istio.security.Authorization`.
    pub const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";
    /// `ambit.route.v1.Gateway`.
    pub const GATEWAY: &str = "type.googleapis.com/ambit.route.v1.Gateway";
    /// `ambit.route.v1.Router`.
    pub const ROUTER: &str = "type.googleapis.com/ambit.route.v1.Router";
    /// `ambit.route.v1.Cluster`.
    pub const CLUSTER: &str = "type.googleapis.com/ambit.route.v1.Cluster";
    /// `ambit.route.v1.Endpoints`.
    pub const ENDPOINTS: &str = "type.googleapis.com/ambit.route.v1.Endpoints";
}
