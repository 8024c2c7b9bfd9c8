//! `Gateway` (istio/api networking/v1/gateway.proto), the part ingress gateways execute.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const GATEWAY_UNSUPPORTED: &[&str] = &[
    "spec.servers[].bind",
    "spec.servers[].defaultEndpoint",
    "spec.servers[].port.targetPort",
];

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioGatewaySpec {
    /// Ports and hosts.
    pub servers: Vec<Server>,
    /// Labels of the gateway pods that serve it; empty means all.
    pub selector: BTreeMap<String, String>,
}

/// `servers[]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Where it listens.
    pub port: Port,
    /// `[<namespace>/]<host>`: hosts, and the namespaces whose VirtualServices may use them.
    pub hosts: Vec<String>,
    /// TLS; refused by validation.
    pub tls: Option<Value>,
    /// For logs.
    pub name: String,
}

/// `servers[].port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Port.
    pub number: u16,
    /// `HTTP`, `HTTP2` or `GRPC`; others are refused by validation.
    pub protocol: String,
    /// Unique in the Gateway.
    pub name: String,
}

impl Server {
    /// Whether it takes plaintext HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self.port.protocol.as_str(), "HTTP" | "HTTP2" | "GRPC")
    }
}
