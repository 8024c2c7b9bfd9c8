//! The sockets of one pod, sorted by worker.
//! In: descriptors from the agent, or a namespace to open them in ourselves (plain ZDS). Out: for each
//! worker its list. Knows whether a new set is the one already held, by socket inode.

use super::message::Listener;
use crate::pod::{Pod, Role, WorkerSockets};
use ambit_api::ports;
use ambit_net::socket::{Keepalive, ListenError, ListenSpec, any_address};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

/// The sockets of a pod, one list per worker.
#[derive(Debug)]
pub struct PodSockets {
    workers: Vec<WorkerSockets>,
    inodes: Vec<u64>,
}

impl PodSockets {
    /// Sorts received listeners. The decoder has checked that the workers exist.
    ///
    /// # Errors
    /// A descriptor cannot be examined.
    pub fn adopt(listeners: Vec<Listener>, workers: usize) -> io::Result<Self> {
        let mut sorted: Vec<WorkerSockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut inodes = Vec::with_capacity(listeners.len());
        for listener in listeners {
            inodes.push(inode(&listener.fd)?);
            if let Some(list) = sorted.get_mut(listener.worker) {
                list.push((listener.role, listener.fd));
            }
        }
        inodes.sort_unstable();
        Ok(Self {
            workers: sorted,
            inodes,
        })
    }

    /// Opens all roles in the pod's namespace, for an agent that hands over only the namespace.
    ///
    /// # Errors
    /// A port is taken, or the namespace cannot be entered.
    pub fn open(pod: &Pod, plan: &OpenPlan) -> Result<Self, ListenError> {
        let mut sorted: Vec<WorkerSockets> = Vec::with_capacity(plan.workers);
        for _ in 0..plan.workers {
            let mut list = WorkerSockets::new();
            for role in [Role::Outbound, Role::Inbound, Role::Hbone] {
                list.push((role, plan.spec(role).tcp(Some(&pod.netns))?.into()));
            }
            if plan.dns {
                let dns = plan.spec(Role::DnsUdp);
                list.push((Role::DnsUdp, dns.udp(Some(&pod.netns))?.into()));
                list.push((Role::DnsTcp, dns.tcp(Some(&pod.netns))?.into()));
            }
            sorted.push(list);
        }
        Ok(Self {
            workers: sorted,
            inodes: Vec::new(),
        })
    }

    /// Which sockets these are.
    pub fn inodes(&self) -> &[u64] {
        &self.inodes
    }

    /// The lists, in order of the workers.
    pub fn into_workers(self) -> Vec<WorkerSockets> {
        self.workers
    }
}

/// How listeners of our own are made.
#[derive(Clone, Copy, Debug)]
pub struct OpenPlan {
    /// One listener each.
    pub workers: usize,
    /// Bind `[::]`; else `0.0.0.0`.
    pub ipv6: bool,
    /// Serve DNS.
    pub dns: bool,
    /// Of accepted connections, except tunnels, which send their own pings.
    pub keepalive: Option<Keepalive>,
}

impl OpenPlan {
    fn spec(&self, role: Role) -> ListenSpec {
        let any = any_address(self.ipv6);
        let addr: SocketAddr = match role {
            Role::Outbound => (any, ports::OUTBOUND).into(),
            Role::Inbound => (any, ports::INBOUND_PLAINTEXT).into(),
            Role::Hbone => (any, ports::HBONE).into(),
            Role::DnsUdp | Role::DnsTcp => (Ipv4Addr::LOCALHOST, ports::DNS).into(),
        };
        ListenSpec {
            transparent: matches!(role, Role::Outbound | Role::Inbound),
            reuse_port: true,
            keepalive: self.keepalive.filter(|_| role != Role::Hbone),
            ..ListenSpec::new(addr)
        }
    }
}

/// Number of the socket: equal for two descriptors of one socket.
fn inode(fd: &OwnedFd) -> io::Result<u64> {
    let file = std::fs::File::from(fd.try_clone()?);
    Ok(file.metadata()?.ino())
}
