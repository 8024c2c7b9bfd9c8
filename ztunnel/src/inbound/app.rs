//! Dials the pod's application.
//! In: where to and from whom. Out: a connection on which the application sees the client's address.
//! The socket is bound to `lo` and marked, so that its packets never leave the pod and the answers
//! come back to us whatever the client's address is.

use super::proxy_header::{self, Told};
use crate::outcome::Failure;
use crate::pod::{Capture, Pod};
use crate::sockets::DIAL_DEADLINE;
use ambit_ebpf_common::Mark;
use ambit_net::socket::{DialSpec, Keepalive};
use ambit_routing::connection::inbound::Connect;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Dials. `told` is what an application hears that takes the PROXY protocol.
///
/// # Errors
/// [`Failure::App`].
pub async fn dial(
    pod: &Pod,
    connect: &Connect,
    told: &Told<'_>,
    keepalive: Option<Keepalive>,
) -> Result<TcpStream, Failure> {
    if connect.proxy_header {
        return through_tunnel(pod, connect, told).await;
    }
    let mut spec = DialSpec::new(connect.to, DIAL_DEADLINE).within(&pod.netns);
    spec.keepalive = keepalive;
    spec.from = connect
        .spoof
        .filter(|ip| ip.is_ipv4() == connect.to.is_ipv4());
    spec.mark = Some(pod.mark);
    if pod.capture == Capture::Steered && spec.from.is_some() {
        spec.mark = Some(Mark::TO_APP.0);
        spec.bind_device = Some("lo");
    }
    spec.dial().await.map_err(Failure::App)
}

/// An application that takes the PROXY protocol hears of its client there; it is dialled over
/// loopback, where nothing is captured.
async fn through_tunnel(
    pod: &Pod,
    connect: &Connect,
    told: &Told<'_>,
) -> Result<TcpStream, Failure> {
    let loopback: IpAddr = if connect.to.is_ipv4() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    let to = SocketAddr::new(loopback, connect.to.port());
    let mut spec = DialSpec::new(to, DIAL_DEADLINE).within(&pod.netns);
    spec.mark = Some(pod.mark);
    let mut stream = spec.dial().await.map_err(Failure::App)?;
    let header = proxy_header::encode(told);
    match tokio::time::timeout(DIAL_DEADLINE, stream.write_all(&header)).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(source)) => Err(Failure::ProxyHeader(source)),
        Err(_) => Err(Failure::ProxyHeader(std::io::ErrorKind::TimedOut.into())),
    }
}
