//! Where a connection or a request goes next. Pure: snapshot and facts in, decision and trace out.
//! `connection`: L4, for the node proxy, `explain` and what-if. `http`: L7, for waypoints and gateways.
//! Never here: IO, clock, sockets, a store that is asked from the middle of a decision.
#![forbid(unsafe_code)]

pub mod connection;
pub mod http;
