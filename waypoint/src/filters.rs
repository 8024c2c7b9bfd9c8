//! What a route does to a request, one file per step. Decisions are `ambit-routing::http`; here
//! they meet clocks, bodies and heads.
//! Order: client identity → authorization → fault → redirect or direct answer → header operations → rewrite → mirror → retry within
//! timeout.

pub(crate) mod authorization;
pub(crate) mod client_identity;
pub(crate) mod direct_response;
pub(crate) mod fault;
pub(crate) mod header_ops;
pub(crate) mod mirror;
pub(crate) mod redirect;
pub(crate) mod retry;
pub(crate) mod rewrite;
pub(crate) mod timeout;
