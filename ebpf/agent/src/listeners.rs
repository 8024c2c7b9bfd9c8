//! The listeners of one pod: for every role one per worker of the proxy.
//! In: the pod's namespace and a worker count, or descriptors a proxy gave back. Out: [`Listeners`].
//! Owns the agent's copy of every descriptor: while it lives, a dead proxy loses no queued connection.
//! Must not happen here: a member of a group that no worker declared; a descriptor of another pod.
//! Spec: ports of `ambit_api::ports`; SO_REUSEPORT groups, socket(7).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ambit_api::ports;
use ambit_api::zds::SocketRole;
use ambit_ebpf_loader::Role;
use ambit_net::Netns;
use ambit_net::netns::socket_cookie;
use ambit_net::original_dst;
use ambit_net::socket::{Keepalive, ListenError, ListenSpec};

/// Roles in the order of descriptors on the wire.
pub const ROLES: [SocketRole; 5] = [
    SocketRole::Outbound,
    SocketRole::Inbound,
    SocketRole::Hbone,
    SocketRole::DnsUdp,
    SocketRole::DnsTcp,
];

/// One set of listeners.
#[derive(Debug)]
pub struct Listeners {
    workers: Vec<Worker>,
}

/// One worker's listeners, in the order of [`ROLES`].
#[derive(Debug)]
struct Worker([OwnedFd; ROLES.len()]);

/// Descriptors a proxy gave back are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The list of roles is not ours.
    #[error("the proxy names other roles than {ROLES:?}")]
    Roles,
    /// Their number does not fit.
    #[error("{given} descriptors instead of {expected}")]
    Count {
        /// How many came.
        given: usize,
        /// Workers times roles.
        expected: usize,
    },
    /// One is no socket, or its state cannot be read.
    #[error("cannot look at a descriptor")]
    Look(#[source] io::Error),
    /// One belongs to another namespace.
    #[error("a listener of another pod")]
    Foreign,
    /// One is bound elsewhere.
    #[error("a listener for {role:?} on {addr}")]
    Port {
        /// The role it came as.
        role: SocketRole,
        /// Where it is bound.
        addr: SocketAddr,
    },
}

impl Listeners {
    /// Makes one set per worker in the namespace.
    ///
    /// # Errors
    /// A port is taken, or privileges are missing.
    pub fn open(netns: &Netns, workers: u32) -> Result<Self, ListenError> {
        let mut made = Self {
            workers: Vec::new(),
        };
        made.resize(netns, workers)?;
        Ok(made)
    }

    /// Adds sets, or closes those of the highest workers. The first set stays, and with it the slot;
    /// connections queued at a closed member move to the others (`tcp_migrate_req`).
    ///
    /// # Errors
    /// As [`Self::open`]; nothing has changed then.
    pub fn resize(&mut self, netns: &Netns, workers: u32) -> Result<(), ListenError> {
        let have = u32::try_from(self.workers.len()).expect("counted in u32");
        let more = (have..workers)
            .map(|_| Worker::open(netns))
            .collect::<Result<Vec<_>, _>>()?;
        self.workers.truncate(workers as usize);
        self.workers.extend(more);
        Ok(())
    }

    /// How many workers they are for.
    pub fn workers(&self) -> u32 {
        u32::try_from(self.workers.len()).expect("counted in u32")
    }

    /// The listener the slot of `role` must hold: member 0 of its group.
    pub fn slot_member(&self, role: Role) -> Option<BorrowedFd<'_>> {
        let index = match role {
            Role::Outbound => 0,
            Role::Inbound => 1,
            Role::Hbone => 2,
        };
        self.workers.first().map(|worker| worker.0[index].as_fd())
    }

    /// Descriptors of `workers` workers from `first`, in wire order: role by role.
    pub fn descriptors(&self, first: u32, workers: u32) -> Vec<BorrowedFd<'_>> {
        let (first, workers) = (first as usize, workers as usize);
        (0..ROLES.len())
            .flat_map(|role| {
                let range = self.workers.iter().skip(first).take(workers);
                range.map(move |worker| worker.0[role].as_fd())
            })
            .collect()
    }

    /// A copy for somebody else; both must be closed for the listeners to go.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let workers = self
            .workers
            .iter()
            .map(Worker::try_clone)
            .collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Takes what a proxy holds, in wire order, for the pod whose namespace has this cookie.
    ///
    /// # Errors
    /// [`AdoptError`]; the descriptors are closed then.
    pub fn adopt(
        roles: &[i32],
        workers: u32,
        fds: Vec<OwnedFd>,
        cookie: u64,
    ) -> Result<Self, AdoptError> {
        if roles != ROLES.map(|role| role as i32) {
            return Err(AdoptError::Roles);
        }
        let workers = workers as usize;
        let expected = workers.saturating_mul(ROLES.len());
        if fds.len() != expected || workers == 0 {
            return Err(AdoptError::Count {
                given: fds.len(),
                expected,
            });
        }
        for (index, fd) in fds.iter().enumerate() {
            check(fd.as_fd(), ROLES[index / workers], cookie)?;
        }
        let mut columns: Vec<_> = Vec::with_capacity(ROLES.len());
        let mut rest = fds.into_iter();
        for _ in ROLES {
            columns.push(rest.by_ref().take(workers).collect::<Vec<_>>().into_iter());
        }
        let sets = (0..workers).map(|_| {
            Worker(std::array::from_fn(|role| {
                columns[role]
                    .next()
                    .expect("every column has one per worker")
            }))
        });
        Ok(Self {
            workers: sets.collect(),
        })
    }

    /// Appends the sets of the workers that follow.
    pub fn append(&mut self, mut later: Self) {
        self.workers.append(&mut later.workers);
    }
}

impl Worker {
    fn open(netns: &Netns) -> Result<Self, ListenError> {
        let tcp = |role| -> Result<OwnedFd, ListenError> {
            let mut spec = spec(role);
            let made = match spec.tcp(Some(netns)) {
                // A kernel without IPv6 has no dual-stack sockets; then IPv4 is all there is.
                Err(error) if error.source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
                    spec.addr.set_ip(Ipv4Addr::UNSPECIFIED.into());
                    spec.tcp(Some(netns))
                }
                made => made,
            };
            Ok(made?.into())
        };
        Ok(Self([
            tcp(SocketRole::Outbound)?,
            tcp(SocketRole::Inbound)?,
            tcp(SocketRole::Hbone)?,
            spec(SocketRole::DnsUdp).udp(Some(netns))?.into(),
            tcp(SocketRole::DnsTcp)?,
        ]))
    }

    fn try_clone(&self) -> io::Result<Self> {
        let [a, b, c, d, e] = &self.0;
        Ok(Self([
            a.try_clone()?,
            b.try_clone()?,
            c.try_clone()?,
            d.try_clone()?,
            e.try_clone()?,
        ]))
    }
}

fn spec(role: SocketRole) -> ListenSpec {
    let addr = match role {
        // Queries reach these by 127.53.0.i, which exists for IPv4 only.
        SocketRole::DnsUdp | SocketRole::DnsTcp => (Ipv4Addr::UNSPECIFIED, port(role)).into(),
        _ => (Ipv6Addr::UNSPECIFIED, port(role)).into(),
    };
    let mut spec = ListenSpec::new(addr);
    spec.reuse_port = true;
    spec.transparent = matches!(role, SocketRole::Outbound | SocketRole::Inbound);
    spec.keepalive = Some(Keepalive::default());
    if matches!(role, SocketRole::DnsUdp | SocketRole::DnsTcp) {
        // No resolver for the rest of the network.
        spec.device = Some("lo");
    }
    spec
}

fn port(role: SocketRole) -> u16 {
    match role {
        SocketRole::Outbound => ports::OUTBOUND,
        SocketRole::Inbound => ports::INBOUND_PLAINTEXT,
        SocketRole::Hbone => ports::HBONE,
        SocketRole::DnsUdp | SocketRole::DnsTcp => ports::DNS,
        SocketRole::Unspecified => 0,
    }
}

fn check(fd: BorrowedFd<'_>, role: SocketRole, cookie: u64) -> Result<(), AdoptError> {
    if socket_cookie(fd).map_err(AdoptError::Look)? != cookie {
        return Err(AdoptError::Foreign);
    }
    let addr = original_dst::local(&fd).map_err(AdoptError::Look)?;
    if addr.port() == port(role) {
        Ok(())
    } else {
        Err(AdoptError::Port { role, addr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> Option<Netns> {
        if nix::unistd::Uid::effective().is_root() {
            return Some(Netns::make().unwrap());
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "needs root to make network namespaces"
        );
        eprintln!("cannot run: needs root to make network namespaces");
        None
    }

    #[test]
    fn descriptors_come_role_by_role_and_go_back_the_same_way() {
        let Some(netns) = scratch() else { return };
        let listeners = Listeners::open(&netns, 3).unwrap();
        let fds: Vec<OwnedFd> = listeners
            .descriptors(0, 3)
            .into_iter()
            .map(|fd| fd.try_clone_to_owned().unwrap())
            .collect();
        let ports: Vec<u16> = fds
            .iter()
            .map(|fd| original_dst::local(fd).unwrap().port())
            .collect();
        assert_eq!(
            ports,
            [
                15001, 15001, 15001, 15006, 15006, 15006, 15008, 15008, 15008, 15053, 15053, 15053,
                15053, 15053, 15053
            ]
        );
        let roles = ROLES.map(|role| role as i32);
        let adopted = Listeners::adopt(&roles, 3, fds, netns.cookie().unwrap()).unwrap();
        assert_eq!(adopted.workers(), 3);
        assert_eq!(adopted.descriptors(1, 1).len(), 5);
    }

    #[test]
    fn a_group_grows_and_shrinks_around_its_first_member() {
        let Some(netns) = scratch() else { return };
        let mut listeners = Listeners::open(&netns, 1).unwrap();
        use std::os::fd::AsRawFd;
        let first = listeners.slot_member(Role::Hbone).unwrap().as_raw_fd();
        for workers in [4, 2, 1] {
            listeners.resize(&netns, workers).unwrap();
            assert_eq!(listeners.workers(), workers);
            assert_eq!(
                listeners.slot_member(Role::Hbone).unwrap().as_raw_fd(),
                first
            );
        }
    }

    #[test]
    fn wrong_descriptors_are_refused() {
        let Some(netns) = scratch() else { return };
        let Some(other) = scratch() else { return };
        let cookie = netns.cookie().unwrap();
        let roles = ROLES.map(|role| role as i32);
        let copies = |listeners: &Listeners| -> Vec<OwnedFd> {
            let fds = listeners.descriptors(0, 1).into_iter();
            fds.map(|fd| fd.try_clone_to_owned().unwrap()).collect()
        };
        let ours = Listeners::open(&netns, 1).unwrap();
        let theirs = Listeners::open(&other, 1).unwrap();
        assert!(matches!(
            Listeners::adopt(&roles, 1, copies(&theirs), cookie),
            Err(AdoptError::Foreign)
        ));
        assert!(matches!(
            Listeners::adopt(&roles, 2, copies(&ours), cookie),
            Err(AdoptError::Count {
                given: 5,
                expected: 10
            })
        ));
        assert!(matches!(
            Listeners::adopt(&roles, 0, Vec::new(), cookie),
            Err(AdoptError::Count { .. })
        ));
        assert!(matches!(
            Listeners::adopt(&roles[..3], 1, copies(&ours), cookie),
            Err(AdoptError::Roles)
        ));
        let mut swapped = copies(&ours);
        swapped.swap(0, 1);
        assert!(matches!(
            Listeners::adopt(&roles, 1, swapped, cookie),
            Err(AdoptError::Port { .. })
        ));
        let mut file = copies(&ours);
        file[4] = tempfile::tempfile().unwrap().into();
        assert!(matches!(
            Listeners::adopt(&roles, 1, file, cookie),
            Err(AdoptError::Look(_))
        ));
    }
}
