//! Parts of HTTP messages: bodies as they pass, headers, the request line, answers of our own.
//! In: received parts. Out: what is sent on. Never here: a decision, a wait for anybody but a body.

pub(crate) mod body;
pub(crate) mod edge;
pub(crate) mod grpc;
pub(crate) mod headers;
pub(crate) mod line;
pub(crate) mod path;
pub(crate) mod reply;
