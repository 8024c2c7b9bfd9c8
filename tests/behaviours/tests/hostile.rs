//! Bytes that nobody who means well would send: each is refused by name and counted, while fifty
//! other connections go on and the memory it took comes back.

#[path = "hostile/attacker.rs"]
mod attacker;
#[path = "hostile/broken_streams.rs"]
mod broken_streams;
#[path = "hostile/callers.rs"]
mod callers;
#[path = "hostile/certificates.rs"]
mod certificates;
#[path = "hostile/connect.rs"]
mod connect;
#[path = "hostile/control.rs"]
mod control;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/siege.rs"]
mod siege;
#[path = "hostile/stand_in.rs"]
#[allow(dead_code, reason = "shared with attacks on the waypoint")]
mod stand_in;
#[path = "hostile/tls.rs"]
mod tls;
#[path = "hostile/zds.rs"]
mod zds;
