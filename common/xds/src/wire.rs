//! The protocol without IO: messages in, messages out, no clock and no sockets.

pub mod client_state;
pub mod server_state;
pub mod subscription;
