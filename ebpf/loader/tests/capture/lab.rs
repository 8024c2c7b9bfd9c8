//! A node with two pods, a machine outside, and a proxy that only listens.
//!
//! ```text
//! pod 10.77.1.2 ── node 10.77.1.1, .2.1, .9.1 ── outside 10.77.9.2, 10.99.0.9
//! neighbour 10.77.2.2 ──┘
//! ```
//! The same in IPv6 below fd77:: and fd99::9. The pod is enrolled in slot 1; its neighbour's
//! address belongs to slot 2. Threads run in cgroup `app` unless they ask for another.

use crate::cgroups::Cgroups;
use crate::netns::Netns;
use crate::sockets::{accepted, canonical, proxy_listener};
use ambit_ebpf_loader::{Capture, CaptureConfig, Counter, Role, Slot};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The process has one cgroup, so labs take turns.
static TURN: Mutex<()> = Mutex::new(());

const CHILDREN: [&str; 4] = ["app", "proxy", "proxy/container", "kubepods"];

/// The proxy's listeners in the pod.
pub(crate) struct Proxy {
    pub(crate) outbound: TcpListener,
    pub(crate) inbound: TcpListener,
    pub(crate) hbone: TcpListener,
}

/// Fields are dropped in this order.
pub(crate) struct Lab {
    pub(crate) capture: Option<Capture>,
    pub(crate) proxy: Proxy,
    pub(crate) bpffs: Bpffs,
    pub(crate) pod: Netns,
    pub(crate) neighbour: Netns,
    pub(crate) node: Netns,
    pub(crate) outside: Netns,
    pub(crate) cgroups: Cgroups,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) struct Bpffs(tempfile::TempDir);

impl Bpffs {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount(
            Some("bpf"),
            directory.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

pub(crate) fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

/// False where the test cannot run; then it has said so.
pub(crate) fn possible() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "capture tests need root, and CI must run them"
    );
    eprintln!("not run: loading programs and making namespaces needs root");
    false
}

impl Lab {
    /// A pod that is enrolled, with listeners for every role.
    pub(crate) fn start() -> Option<Self> {
        possible().then(|| {
            let lab = Self::wire();
            lab.enroll();
            lab
        })
    }

    fn wire() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let id = std::process::id();
        let netns = |role: &str| Netns::new(format!("ambit-capture-{id}-{role}"));
        let (pod, neighbour) = (netns("pod"), netns("neighbour"));
        let (node, outside) = (netns("node"), netns("outside"));
        for (leaf, net) in [(&pod, 1), (&neighbour, 2), (&outside, 9)] {
            connect(&node, leaf, net);
        }
        outside.ip("addr add 10.99.0.9/32 dev lo");
        outside.ip("-6 addr add fd99::9/128 dev lo nodad");
        node.ip("route add 10.99.0.9/32 via 10.77.9.2");
        node.ip("-6 route add fd99::9/128 via fd77:9::2");
        for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
            node.sysctl(&format!("net.{family}"), "1");
        }
        let cgroups = Cgroups::new(&format!("ambit-capture-{id}"), &CHILDREN);
        let bpffs = Bpffs::new();
        let capture = Capture::open(config(bpffs.path(), &node, &cgroups)).unwrap();
        let proxy = pod.run(
            || (),
            || Proxy {
                outbound: proxy_listener(15001),
                inbound: proxy_listener(15006),
                hbone: proxy_listener(15008),
            },
        );
        Self {
            capture: Some(capture),
            proxy,
            bpffs,
            pod,
            neighbour,
            node,
            outside,
            cgroups,
            _turn: turn,
        }
    }

    fn enroll(&self) {
        loop_captured(&self.pod);
        let capture = self.capture();
        for ip in ["10.77.1.2", "fd77:1::2"] {
            capture.set_pod_ip(ip.parse().unwrap(), slot(1)).unwrap();
        }
        for ip in ["10.77.2.2", "fd77:2::2"] {
            capture.set_pod_ip(ip.parse().unwrap(), slot(2)).unwrap();
        }
        self.fill_slots();
        capture
            .set_exempt(&[self.cgroups.reference("proxy")])
            .unwrap();
        capture.attach_steer(slot(1), self.pod.fd()).unwrap();
        capture.enroll(self.pod.cookie(), slot(1)).unwrap();
    }

    pub(crate) fn fill_slots(&self) {
        for (role, listener) in [
            (Role::Outbound, &self.proxy.outbound),
            (Role::Inbound, &self.proxy.inbound),
            (Role::Hbone, &self.proxy.hbone),
        ] {
            self.capture()
                .set_listener(slot(1), role, listener.as_fd())
                .unwrap();
        }
    }

    pub(crate) fn capture(&self) -> &Capture {
        self.capture.as_ref().unwrap()
    }

    pub(crate) fn config(&self) -> CaptureConfig {
        config(self.bpffs.path(), &self.node, &self.cgroups)
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.bpffs.path().join("ambit/v2")
    }

    /// Runs in a namespace as an application.
    pub(crate) fn run<T: Send>(&self, netns: &Netns, body: impl FnOnce() -> T + Send) -> T {
        self.run_as("app", netns, body)
    }

    /// Runs in the pod as an application.
    pub(crate) fn in_pod<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.run(&self.pod, body)
    }

    /// Runs in a namespace and a cgroup.
    pub(crate) fn run_as<T: Send>(
        &self,
        cgroup: &str,
        netns: &Netns,
        body: impl FnOnce() -> T + Send,
    ) -> T {
        netns.run(|| self.cgroups.join(cgroup), body)
    }

    /// Which listener of the pod got the connection, and what it believes the destination to be.
    pub(crate) fn got(&self, app: Option<&TcpListener>) -> (&'static str, String, TcpStream) {
        let mut listeners = vec![
            ("outbound", &self.proxy.outbound),
            ("inbound", &self.proxy.inbound),
            ("hbone", &self.proxy.hbone),
        ];
        listeners.extend(app.map(|app| ("app", app)));
        let (name, stream) = accepted(&listeners);
        let destination = canonical(stream.local_addr().unwrap());
        (name, destination, stream)
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let counters = self.capture().counters().unwrap();
        counters
            .into_iter()
            .find_map(|(found, value)| (found == counter).then_some(value))
            .unwrap()
    }
}

fn config(bpffs: &Path, node: &Netns, cgroups: &Cgroups) -> CaptureConfig {
    CaptureConfig {
        pin_root: bpffs.join("ambit"),
        cgroup_root: cgroups.root.clone(),
        node_netns_cookie: node.cookie(),
        kubepods: Some(cgroups.reference("kubepods")),
    }
}

/// A veth pair between the node and a leaf, which routes everything to the node.
fn connect(node: &Netns, leaf: &Netns, net: u8) {
    let (device, leaf_name) = (format!("v{net}"), &leaf.name);
    node.ip(&format!(
        "link add {device} type veth peer name eth0 netns {leaf_name}"
    ));
    node.ip(&format!("addr add 10.77.{net}.1/24 dev {device}"));
    node.ip(&format!("-6 addr add fd77:{net}::1/64 dev {device} nodad"));
    node.ip(&format!("link set {device} up"));
    leaf.ip(&format!("addr add 10.77.{net}.2/24 dev eth0"));
    leaf.ip(&format!("-6 addr add fd77:{net}::2/64 dev eth0 nodad"));
    leaf.ip("link set eth0 up");
    leaf.ip(&format!("route add default via 10.77.{net}.1"));
    leaf.ip(&format!("-6 route add default via fd77:{net}::1"));
}

/// The rules, routes and settings the agent makes in a pod.
fn loop_captured(pod: &Netns) {
    for (family, source) in [("-4", "10.77.1.2"), ("-6", "fd77:1::2")] {
        pod.ip(&format!("{family} rule add fwmark 0x111/0xfff lookup 100"));
        pod.ip(&format!(
            "{family} route add local default dev lo src {source} table 100"
        ));
        pod.ip(&format!("{family} rule add fwmark 0x112/0xfff lookup 101"));
        pod.ip(&format!(
            "{family} route add local default dev lo table 101"
        ));
    }
    for key in [
        "net.ipv4.tcp_fwmark_accept",
        "net.ipv4.fwmark_reflect",
        "net.ipv6.fwmark_reflect",
    ] {
        pod.sysctl(key, "1");
    }
}
