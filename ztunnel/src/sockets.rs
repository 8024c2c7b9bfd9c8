//! Facts and options of captured sockets.

use crate::outcome::Failure;
use crate::pod::{Capture, Pod};
use ambit_ebpf_common::Mark;
use ambit_net::original_dst;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where the client of a captured connection wanted to go.
///
/// # Errors
/// The address is not known, or the connection is one of our own that came back.
pub fn captured_for(pod: &Pod, stream: &TcpStream) -> Result<SocketAddr, Failure> {
    refuse_own(pod, stream)?;
    match pod.capture {
        Capture::Steered => original_dst::local(stream),
        Capture::Redirected => {
            original_dst::redirected(stream).or_else(|_| original_dst::local(stream))
        }
    }
    .map_err(Failure::OriginalDst)
}

/// A connection that carries one of our marks was dialled by us: the accepted side inherits the mark
/// of the SYN (`tcp_fwmark_accept`), which never arrives from another namespace.
///
/// # Errors
/// [`Failure::OwnSocket`].
pub fn refuse_own(pod: &Pod, stream: &TcpStream) -> Result<(), Failure> {
    let ours = |mark: u32| mark == pod.mark || mark & Mark::MASK == Mark::TO_APP.0;
    match socket2::SockRef::from(stream).mark() {
        Ok(mark) if ours(mark) => Err(Failure::OwnSocket),
        _ => Ok(()),
    }
}

/// Makes closing the socket a reset.
pub fn reset(stream: &TcpStream) {
    // Without the option the peer sees an orderly end, which is all that can be done then.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// From SYN to established, towards peers and applications.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);
