//! Ports of the mesh; the numbers are Istio's.

/// Captured outbound connections, in the pod.
pub const OUTBOUND: u16 = 15001;
/// Captured plaintext inbound connections, in the pod.
pub const INBOUND_PLAINTEXT: u16 = 15006;
/// HBONE, in the pod or the waypoint.
pub const HBONE: u16 = 15008;
/// DNS, in the pod on 127.53.0.0/16.
pub const DNS: u16 = 15053;
/// Admin, loopback only.
pub const ADMIN: u16 = 15000;
/// Controller: xDS and CA over TLS.
pub const XDS: u16 = 15012;
/// Controller and agent: metrics and debug.
pub const CONTROL_METRICS: u16 = 15014;
/// Controller: validation webhook.
pub const WEBHOOK: u16 = 15017;
/// Proxies: metrics.
pub const METRICS: u16 = 15020;
/// Proxies: readiness.
pub const READINESS: u16 = 15021;
/// Agent: readiness.
pub const AGENT_READINESS: u16 = 8000;

/// Ports no application may be reached on through the proxy: a connection to them that reaches us
/// as user traffic is a loop or an attack.
pub const RESERVED: [u16; 3] = [OUTBOUND, INBOUND_PLAINTEXT, HBONE];
