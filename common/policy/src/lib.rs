//! Authorization: facts about one connection in, a verdict with its reason out. Pure.
//! In: a `Snapshot` and `l4::ConnectionFacts`. Out: `l4::Evaluation`. Used by the node proxy, `explain`
//! and what-if diffs, which must agree. Never here: IO, clock, a cache of verdicts.
//! Spec: `istio.security.Authorization`; Istio's documented evaluation order.
#![forbid(unsafe_code)]

pub mod l4;
