//! Sockets with the options applications and the proxy use.
//!
//! In: addresses. Out: sockets, all with deadlines. Runs in the namespace of the calling thread.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Nothing here takes longer unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// A listener as the proxy's: dual-stack and transparent.
pub(crate) fn proxy_listener(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_ip_transparent_v4(true).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

/// A listener as an application's.
pub(crate) fn app_listener(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

pub(crate) fn udp(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Connects a plain socket.
pub(crate) fn dial(address: &str) -> io::Result<TcpStream> {
    dial_with(address, |_| ())
}

/// Connects a socket that `prepare` has set options on.
pub(crate) fn dial_with(address: &str, prepare: impl FnOnce(&Socket)) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    prepare(&socket);
    socket.connect_timeout(&SockAddr::from(address), DEADLINE)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    Ok(socket.into())
}

/// The listener that has a connection, by name, and the connection.
pub(crate) fn accepted<'a>(listeners: &[(&'a str, &TcpListener)]) -> (&'a str, TcpStream) {
    let mut polled: Vec<_> = listeners
        .iter()
        .map(|(_, listener)| PollFd::new(listener.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(DEADLINE).unwrap();
    let ready = poll(&mut polled, timeout).unwrap();
    assert_ne!(ready, 0, "no listener got the connection");
    let at = polled.iter().position(|fd| fd.any() == Some(true)).unwrap();
    let (stream, _) = listeners[at].1.accept().unwrap();
    (listeners[at].0, stream)
}

/// IPv4-mapped addresses as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V6(ip) => IpAddr::V6(ip).to_canonical(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

pub(crate) fn netns_cookie(socket: &impl AsRawFd) -> u64 {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).unwrap();
    // SAFETY: the value has eight writable bytes, as the length says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    cookie
}
