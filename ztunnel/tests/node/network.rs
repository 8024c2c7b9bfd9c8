//! Two pods: network namespaces joined by a veth pair, with the rules the agent would write.

use ambit_net::Netns;
use ambit_net::socket::ListenSpec;
use ambit_net::sysctl::{Sysctl, SysctlRoot};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use crate::mesh::{CLIENT, SERVER};

/// An address of the server pod that the mesh does not know.
pub(crate) const ALIAS: &str = "10.9.0.3";
/// An address that is the client pod's own even for the proxy.
pub(crate) const LOOP: &str = "10.99.0.1";

/// One pod's namespace; deleted when dropped.
pub(crate) struct PodNet {
    pub(crate) netns: Netns,
    name: String,
}

/// The two pods.
pub(crate) struct Pods {
    pub(crate) client: PodNet,
    pub(crate) server: PodNet,
}

impl Pods {
    /// `None` without root, after saying so.
    pub(crate) fn make(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "network namespaces need root"
            );
            writeln_err("not run: network namespaces need root");
            return None;
        }
        let (client, server) = (PodNet::make(test, "c"), PodNet::make(test, "s"));
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &client.name,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &server.name,
        ]);
        client.configure(CLIENT);
        server.configure(SERVER);
        // Captured sockets carry the mark that the connect hook sets; the SYN then loops.
        client.ip(&["rule", "add", "fwmark", "0x111/0xfff", "lookup", "100"]);
        client.ip(&[
            "route", "add", "local", "default", "dev", "lo", "src", CLIENT, "table", "100",
        ]);
        client.ip(&["route", "add", "local", LOOP, "dev", "lo"]);
        server.ip(&["addr", "add", ALIAS, "dev", "eth0"]);
        Some(Self { client, server })
    }
}

impl PodNet {
    fn make(test: &str, end: &str) -> Self {
        let name = format!("ambit-zt-{}-{test}-{end}", std::process::id());
        ip(&["netns", "add", &name]);
        let netns = Netns::open(Path::new(&format!("/run/netns/{name}"))).unwrap();
        Self { netns, name }
    }

    fn configure(&self, address: &str) {
        self.ip(&["link", "set", "lo", "up"]);
        self.ip(&["link", "set", "eth0", "up"]);
        self.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        self.ip(&["rule", "add", "fwmark", "0x112/0xfff", "lookup", "101"]);
        self.ip(&[
            "route", "add", "local", "default", "dev", "lo", "table", "101",
        ]);
        let sysctls = SysctlRoot::new(Path::new("/proc"));
        for sysctl in [Sysctl::TcpFwmarkAccept, Sysctl::FwmarkReflect4] {
            sysctls.write(&self.netns, sysctl, 1).unwrap();
        }
    }

    /// A listener in the pod.
    pub(crate) fn listen(&self, addr: SocketAddr) -> OwnedFd {
        let spec = ListenSpec {
            reuse_port: true,
            transparent: true,
            ..ListenSpec::new(addr)
        };
        spec.tcp(Some(&self.netns)).unwrap().into()
    }

    /// A listener for what arrives on one device only.
    pub(crate) fn listen_on(&self, device: &'static str, addr: SocketAddr) -> TcpListener {
        let spec = ListenSpec {
            device: Some(device),
            ..ListenSpec::new(addr)
        };
        let listener = spec.tcp(Some(&self.netns)).unwrap();
        listener.set_nonblocking(false).unwrap();
        listener
    }

    /// A bound UDP socket that tells which address it was asked on.
    pub(crate) fn bind_udp(&self, addr: SocketAddr) -> UdpSocket {
        let socket = ListenSpec::new(addr).udp(Some(&self.netns)).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket
    }

    /// What a captured application gets for `connect`: the hook marks its socket.
    pub(crate) fn connect_captured(&self, to: SocketAddr) -> TcpStream {
        let connect = || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.set_mark(ambit_ebpf_common::Mark::CAPTURED.0)?;
            socket.connect(&to.into())?;
            Ok::<_, std::io::Error>(TcpStream::from(socket))
        };
        self.netns.enter(connect).unwrap().unwrap()
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }
}

impl Drop for PodNet {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {}: {error}", arguments.join(" "));
}

fn writeln_err(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
