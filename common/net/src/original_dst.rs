//! What an accepted socket was dialled for.
//! In: an accepted, captured TCP socket. Out: the destination the application named.
//! Owns nothing. Must not happen here: a decision about that address.
//! Spec: getsockname(2) for sockets steered by sk_lookup; `SO_ORIGINAL_DST` for sockets redirected by
//! netfilter (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;

/// Turns a v4-mapped IPv6 address into the IPv4 address it stands for; leaves all others.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical_ip(addr.ip()), addr.port())
}

/// As [`canonical`], without a port.
pub fn canonical_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The socket's own address: the original destination where eBPF steered it to us.
///
/// # Errors
/// The socket is not an IP socket or is gone.
pub fn local(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let addr = SockRef::from(socket).local_addr()?;
    addr.as_socket()
        .map(canonical)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The other side's address.
///
/// # Errors
/// The socket is not connected.
pub fn peer(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let addr = SockRef::from(socket).peer_addr()?;
    addr.as_socket()
        .map(canonical)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// What netfilter's connection tracking says the destination was before a REDIRECT: the way of
/// upstream's in-pod rules. Falls back to nothing: without an entry this is an error.
///
/// # Errors
/// `ENOENT` if the connection was not redirected, `ENOPROTOOPT` without connection tracking.
pub fn redirected(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let socket = SockRef::from(socket);
    let local = socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let found = if canonical(local).is_ipv4() {
        socket.original_dst_v4()?
    } else {
        socket.original_dst_v6()?
    };
    found
        .as_socket()
        .map(canonical)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    #[test]
    fn mapped_addresses_become_v4() {
        let cases = [
            ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ];
        for (given, expected) in cases {
            let given: SocketAddr = given.parse().unwrap();
            assert_eq!(canonical(given).to_string(), expected);
        }
    }

    #[test]
    fn a_dual_stack_listener_reports_v4_addresses() {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(
            local(&server).unwrap(),
            SocketAddr::from(([127, 0, 0, 1], port))
        );
        assert_eq!(peer(&server).unwrap(), client.local_addr().unwrap());
    }
}
