//! Two pods: network namespaces joined by a veth pair, with the rules the agent would write.

use ambit_net::Netns;
use ambit_net::socket::ListenSpec;
use ambit_net::sysctl::{Sysctl, SysctlRoot};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use crate::mesh::{CLIENT, MARK, SERVER, VIP};

/// An address of the server pod that the mesh does not know.
pub(crate) const ALIAS: &str = "10.9.0.3";
/// An address nobody has but the client's own listener.
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
            assert!(std::env::var_os("CI").is_none(), "network namespaces need root");
            writeln_err("not run: network namespaces need root");
            return None;
        }
        let (client, server) = (PodNet::make(test, "c"), PodNet::make(test, "s"));
        ip(&["link", "add", "eth0", "netns", &client.name, "type", "veth", "peer", "name", "eth0", "netns", &server.name]);
        client.configure(CLIENT);
        server.configure(SERVER);
        let vip = VIP.rsplit_once(':').unwrap().0;
        client.ip(&["route", "add", "local", vip, "dev", "lo"]);
        for captured in [ALIAS, LOOP] {
            client.ip(&["route", "add", "local", captured, "dev", "lo"]);
        }
        // The proxy's own sockets take the real routes, as they do where eBPF tells them apart.
        client.ip(&["rule", "add", "pref", "100", "lookup", "local"]);
        client.ip(&["rule", "add", "pref", "10", "fwmark", &format!("{MARK:#x}"), "to", ALIAS, "lookup", "main"]);
        client.ip(&["rule", "del", "pref", "0"]);
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
        self.ip(&["route", "add", "local", "default", "dev", "lo", "table", "101"]);
        let sysctls = SysctlRoot::new(Path::new("/proc"));
        for sysctl in [Sysctl::TcpFwmarkAccept, Sysctl::FwmarkReflect4] {
            sysctls.write(&self.netns, sysctl, 1).unwrap();
        }
    }

    /// A listener in the pod.
    pub(crate) fn listen(&self, addr: SocketAddr) -> OwnedFd {
        let spec = ListenSpec { reuse_port: true, transparent: true, ..ListenSpec::new(addr) };
        spec.tcp(Some(&self.netns)).unwrap().into()
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }
}

impl Drop for PodNet {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
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
