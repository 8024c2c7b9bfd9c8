//! Datagrams with the local address they were sent to, and answers from that address.
//! Spec: ip(7) `IP_PKTINFO`, ipv6(7) `IPV6_PKTINFO`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// One received datagram; its payload is in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes of payload.
    pub len: usize,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Which of our addresses it was sent to.
    pub local: IpAddr,
}

/// Receives one datagram on a socket made by [`super::ListenSpec::udp`]. One longer than `buffer` is an error.
///
/// # Errors
/// As recvmsg(2); `InvalidData` if it does not fit or lacks an address.
pub async fn recv_datagram(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Datagram> {
    socket
        .async_io(Interest::READABLE, || {
            let mut control = nix::cmsg_space!(libc::in6_pktinfo);
            let mut iov = [IoSliceMut::new(buffer)];
            let received = recvmsg::<SockaddrStorage>(
                socket.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            if received.flags.contains(MsgFlags::MSG_TRUNC) {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let peer = received.address.as_ref().and_then(socket_addr);
            let local = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::Ipv4PacketInfo(found) => Some(IpAddr::V4(Ipv4Addr::from(
                    u32::from_be(found.ipi_addr.s_addr),
                ))),
                ControlMessageOwned::Ipv6PacketInfo(found) => {
                    Some(IpAddr::V6(Ipv6Addr::from(found.ipi6_addr.s6_addr)))
                }
                _ => None,
            });
            match (peer, local) {
                (Some(peer), Some(local)) => Ok(Datagram {
                    len: received.bytes,
                    peer,
                    local,
                }),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
            }
        })
        .await
}

/// Sends `bytes` to `peer` from the local address `from`.
///
/// # Errors
/// As sendmsg(2); `InvalidInput` if the two addresses are of different families.
pub async fn send_datagram(
    socket: &UdpSocket,
    bytes: &[u8],
    peer: SocketAddr,
    from: IpAddr,
) -> io::Result<()> {
    socket
        .async_io(Interest::WRITABLE, || {
            let iov = [IoSlice::new(bytes)];
            let fd = socket.as_raw_fd();
            match (peer, from) {
                (SocketAddr::V4(to), IpAddr::V4(from)) => {
                    let source = libc::in_pktinfo {
                        ipi_ifindex: 0,
                        ipi_spec_dst: libc::in_addr {
                            s_addr: u32::from(from).to_be(),
                        },
                        ipi_addr: libc::in_addr { s_addr: 0 },
                    };
                    let control = [ControlMessage::Ipv4PacketInfo(&source)];
                    sendmsg(
                        fd,
                        &iov,
                        &control,
                        MsgFlags::empty(),
                        Some(&SockaddrIn::from(to)),
                    )?;
                }
                (SocketAddr::V6(to), IpAddr::V6(from)) => {
                    let source = libc::in6_pktinfo {
                        ipi6_addr: libc::in6_addr {
                            s6_addr: from.octets(),
                        },
                        ipi6_ifindex: 0,
                    };
                    let control = [ControlMessage::Ipv6PacketInfo(&source)];
                    sendmsg(
                        fd,
                        &iov,
                        &control,
                        MsgFlags::empty(),
                        Some(&SockaddrIn6::from(to)),
                    )?;
                }
                _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
            }
            Ok(())
        })
        .await
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    storage
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::new(v6.ip().into(), v6.port()))
}
