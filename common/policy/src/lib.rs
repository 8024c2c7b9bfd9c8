//! Authorization: facts about one connection in, a verdict with its reason out. Pure.
//! In: policies and facts. Out: a verdict. `l4` serves the node proxy, `l7` the waypoint; `explain` and
//! what-if diffs use both, so that they agree with what is enforced. Never here: IO, clock, a cache of
//! verdicts.
//! Spec: `istio.security.Authorization`; Istio's documented evaluation order.
#![forbid(unsafe_code)]

pub mod l4;
pub mod l7;
