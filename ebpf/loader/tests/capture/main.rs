//! Capture as a pod sees it: real programs, real sockets, namespaces of our own.
//!
//! One file per kernel program, with its name, `refusal` for what the kernel does not let one do, and
//! `lifecycle` for what outlives a process. Needs root; everything it makes carries the process id in
//! its name and goes away with the test.
#![allow(unsafe_code, reason = "socket options without a safe wrapper")]
#![allow(
    clippy::print_stderr,
    reason = "a test that cannot run, or cannot clean up, says so"
)]
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod cgroups;
mod connect;
mod dns;
mod lab;
mod lifecycle;
mod netns;
mod probe;
mod refusal;
mod reroute;
mod sockets;
mod steer;
