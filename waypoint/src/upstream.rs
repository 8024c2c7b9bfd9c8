//! From a cluster to an answer: which endpoint, over which connection.
//! In: a cluster name and a request. Out: a response, or a typed reason.
//! Owns: connections to endpoints (`pool`), what each of them is doing (`balance`).
//! Never here: routes, retries, what is said to the client.

pub(crate) mod balance;
pub(crate) mod connect;
pub(crate) mod endpoints;
pub(crate) mod pool;
