//! Inbound: HBONE tunnels and plain connections to a pod in, its application out.
//! In: accepted connections. Out: exactly one outcome per connection or stream; the application sees
//! the client's address. Both ways in get the same policies; plaintext has no identity.
//! Must not: dial the application before policy has allowed it.
//! Spec: RFC 9113 section 8.5; Istio's node proxy (inbound).

mod admitted;
pub mod app;
pub mod hbone;
pub mod labels;
pub mod plaintext;
pub mod proxy_header;
