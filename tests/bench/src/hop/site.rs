//! One end-to-end hop: a namespace, a cgroup for the application, the proxy's listeners.
//! In: a lab. Out: a captured site, made of the agent's own routes and listeners and the loader's
//! programs, or a bare one with the same listeners and nothing else.
//! Owns: the capture, which goes with the lab's pin directory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;

use ambit_agent::enroll::routing;
use ambit_agent::listeners::Listeners;
use ambit_api::ports;
use ambit_ebpf_loader::{Capture, CaptureConfig, Role, Slot};
use ambit_harness::launch::Place;
use ambit_harness::names::NetnsName;
use ambit_harness::{Lab, cgroup, tool};
use ambit_net::Netns;
use ambit_net::sysctl::SysctlRoot;
use anyhow::Context;
use nix::mount::{MsFlags, mount};

use crate::tune::tune;

/// Where the captured application connects to; nothing has this address.
const DIALLED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 7001);
/// The application's own address.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// A place to connect from and the listeners connections get to.
pub(crate) struct Site {
    /// What the client dials
    pub(crate) dials: SocketAddr,
    /// Where it runs
    pub(crate) place: Place,
    listeners: Listeners,
    _capture: Option<Capture>,
}

impl Site {
    /// A site whose connections reach the listener only because they are captured.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) async fn captured(lab: &Lab) -> anyhow::Result<Self> {
        let (place, netns) = place(lab, "hop-captured")?;
        let listeners = Listeners::open(&netns, 1)?;
        let pins = lab.run_dir().join("hop-bpffs");
        fs::create_dir_all(&pins)?;
        mount(
            Some("bpf"),
            &pins,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mount bpffs")?;
        let capture = Capture::open(CaptureConfig {
            pin_root: pins.join("ambit"),
            cgroup_root: place.cgroup.clone().context("a place has a cgroup")?,
            node_netns_cookie: Netns::current()?.cookie()?,
            kubepods: None,
        })?;
        routing::route(&netns, &SysctlRoot::new(Path::new("/proc")), &[]).await?;
        let slot = Slot::new(1).context("slot 1")?;
        for role in Role::ALL {
            let member = listeners.slot_member(role).context("a listener per role")?;
            capture.set_listener(slot, role, member)?;
        }
        capture.set_pod_ip(OWN.into(), slot)?;
        capture.attach_steer(slot, netns.as_fd())?;
        capture.enroll(netns.cookie()?, slot)?;
        Ok(Self {
            dials: DIALLED,
            place,
            listeners,
            _capture: Some(capture),
        })
    }

    /// A site whose connections reach the listener over loopback.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn bare(lab: &Lab) -> anyhow::Result<Self> {
        let (place, netns) = place(lab, "hop-bare")?;
        Ok(Self {
            dials: (Ipv4Addr::LOCALHOST, ports::OUTBOUND).into(),
            place,
            listeners: Listeners::open(&netns, 1)?,
            _capture: None,
        })
    }

    /// The listener that gets the application's connections, blocking.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(crate) fn listener(&self) -> anyhow::Result<TcpListener> {
        let member = self.listeners.slot_member(Role::Outbound);
        let member = member.context("an outbound listener")?;
        let listener = TcpListener::from(member.try_clone_to_owned()?);
        listener.set_nonblocking(false)?;
        Ok(listener)
    }
}

/// A namespace with an address, and a cgroup, both swept up with the lab.
fn place(lab: &Lab, name: &str) -> anyhow::Result<(Place, Netns)> {
    let netns: NetnsName = lab.name().netns(name);
    tool::ip(None, &format!("netns add {}\n", netns.as_str()))?;
    tool::ip(
        Some(&netns),
        &format!("link set lo up\naddr add {OWN}/32 dev lo\n"),
    )?;
    tune(&netns.path())?;
    let cgroup = cgroup::mount_point()?.join(lab.name().cgroup()).join(name);
    cgroup::create(&cgroup)?;
    let opened = Netns::open(&netns.path())?;
    let place = Place {
        netns: Some(netns.path()),
        cgroup: Some(cgroup),
        ..Place::default()
    };
    Ok((place, opened))
}
