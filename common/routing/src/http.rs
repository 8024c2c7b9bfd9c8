//! L7 routing of one request: which route takes it and what that changes, step by step.
//! In: `ambit_model::route` and the parts of a request. Out: plain values the waypoint acts on.
//! Each file is one step; all are pure, randomness comes from the caller.
//! Spec: Istio VirtualService and Gateway API HTTPRoute; Envoy where those are silent.

pub mod balance;
pub mod fault;
pub mod header_ops;
pub mod matching;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod select;
