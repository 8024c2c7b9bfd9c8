//! Headers of CONNECT streams, both directions. No IO.
//! In: header maps of peers, hostile until parsed. Out: typed values; and back.
//! Must not happen here: a panic, or an unbounded copy of what a peer sent.

pub mod baggage;
pub mod connect;
pub mod forwarded;
pub mod traceparent;

pub use baggage::Baggage;
pub use connect::{Authority, BadConnect, ConnectReply, ConnectRequest, Host};
pub use forwarded::Forwarded;
pub use traceparent::Traceparent;
