//! HBONE: HTTP/2 CONNECT streams over mutual TLS.
//! [`wire`] says what the headers mean (no IO), [`io`] moves the bytes and hides the mux.
//! In: TCP streams and an identity. Out: streams to relay, with a verified peer.
//! Owns: tunnels and their pool, per worker (`!Send`).
//! Must not happen here: a routing or policy decision, a wait without a deadline, a name of the
//! `h2` crate in the public interface.
//! Spec: RFC 9113 sections 6 to 8.5; Istio's `baggage` and `forwarded` headers.
#![forbid(unsafe_code)]

pub mod io;
pub mod wire;
