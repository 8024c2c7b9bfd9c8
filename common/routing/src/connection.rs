//! Next hop of one connection. `outbound`: from a captured pod. `inbound`: into an enrolled pod.
//! Both return the decision and its `Trace`, the facts consulted, in order.
//! Never here: IO. What is missing is named (`Need`); the caller fetches it and asks again.
//! Spec: Istio ambient's node proxy behaviour, ARCHITECTURE.md "One connection".

mod endpoint;
#[cfg(test)]
mod fixture;
pub mod inbound;
pub mod outbound;
pub mod trace;
mod waypoint;

use ambit_api::ports;

/// Whether no application may be reached on this port through the proxy.
pub fn is_reserved(port: u16) -> bool {
    ports::RESERVED.contains(&port)
}
