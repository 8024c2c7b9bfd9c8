//! ZDS messages: bytes and descriptors in, typed requests out, and the other way. No IO.
//! Descriptors are counted strictly: one too many or too few is an error, and all are closed.
//! Spec: `istio.workload.zds`; fields 100 are ours.

use crate::pod::{PodIdentity, Role};
use ambit_api::zds;
use prost::Message as _;
use std::os::fd::OwnedFd;
use thiserror::Error;

/// What the agent asks.
#[derive(Debug)]
pub enum Request {
    /// Serve this pod.
    Add(Add),
    /// Serve it no longer.
    Del {
        /// Pod.
        uid: String,
    },
    /// It still exists, although its namespace is not at hand now.
    Keep {
        /// Pod.
        uid: String,
    },
    /// All pods have been named.
    SnapshotSent,
}

/// A pod to serve.
#[derive(Debug)]
pub struct Add {
    /// Pod.
    pub uid: String,
    /// Who it is.
    pub identity: PodIdentity,
    /// Its network namespace.
    pub netns: OwnedFd,
    /// Listeners of the agent; `None` from an agent without the extension.
    pub sockets: Option<Sockets>,
}

/// Listeners of one pod, or a part of them.
#[derive(Debug)]
pub struct Sockets {
    /// One entry per role and worker. Empty: the agent asks for those we hold, from worker `first`.
    pub listeners: Vec<Listener>,
    /// First worker this is about.
    pub first: usize,
    /// More parts follow.
    pub more: bool,
}

/// One listener for one worker.
#[derive(Debug)]
pub struct Listener {
    /// What arrives on it.
    pub role: Role,
    /// Whose it is.
    pub worker: usize,
    /// The socket.
    pub fd: OwnedFd,
}

/// Number of a role on the wire.
fn role_to_wire(role: Role) -> i32 {
    let role = match role {
        Role::Outbound => zds::SocketRole::Outbound,
        Role::Inbound => zds::SocketRole::Inbound,
        Role::Hbone => zds::SocketRole::Hbone,
        Role::DnsUdp => zds::SocketRole::DnsUdp,
        Role::DnsTcp => zds::SocketRole::DnsTcp,
    };
    role as i32
}

fn role_from_wire(value: i32) -> Option<Role> {
    Role::ALL
        .into_iter()
        .find(|role| role_to_wire(*role) == value)
}

/// Why a message is refused. The connection to the agent is then closed and made anew.
#[derive(Debug, Error)]
pub enum ProtocolError {
    /// Not protobuf.
    #[error("message does not decode")]
    Decode(#[source] prost::DecodeError),
    /// No known request.
    #[error("message holds no request")]
    Empty,
    /// A field that must be there is not.
    #[error("{request} without {field}")]
    Missing {
        /// `add`, `del` or `keep`.
        request: &'static str,
        /// Field name.
        field: &'static str,
    },
    /// Descriptors and message do not fit.
    #[error("{request} with {got} descriptors, expected {expected}")]
    Descriptors {
        /// `add`, `del`, `keep` or `snapshot`.
        request: &'static str,
        /// Came.
        got: usize,
        /// Belong to it.
        expected: usize,
    },
    /// A role we do not know.
    #[error("socket role {value} is unknown")]
    Role {
        /// Wire value.
        value: i32,
    },
    /// A listener for a worker there is not.
    #[error("listeners up to worker {worker} of {workers}")]
    Worker {
        /// Named.
        worker: usize,
        /// How many we declared.
        workers: usize,
    },
}

/// The first message to the agent: `workers` data-plane workers take listeners.
pub fn hello(workers: usize) -> Vec<u8> {
    zds::ZdsHello {
        version: zds::Version::V1 as i32,
        ambit: Some(zds::AmbitHello {
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
        }),
    }
    .encode_to_vec()
}

/// The answer to one request: done, or why not.
pub fn ack(error: Option<String>) -> Vec<u8> {
    encode_ack(zds::Ack {
        error: error.unwrap_or_default(),
        held: None,
    })
}

/// Listeners given back: for each role, in order, one per worker of a range.
#[derive(Debug)]
pub struct HeldSockets {
    /// Roles, in the order of the descriptors.
    pub roles: Vec<Role>,
    /// First worker of the range.
    pub first: usize,
    /// How many workers.
    pub workers: usize,
    /// More workers follow; the agent asks again.
    pub more: bool,
}

/// The answer that gives listeners back; their descriptors go along.
pub fn ack_held(held: &HeldSockets) -> Vec<u8> {
    encode_ack(zds::Ack {
        error: String::new(),
        held: Some(zds::AmbitSockets {
            roles: held.roles.iter().map(|role| role_to_wire(*role)).collect(),
            first_worker: u32::try_from(held.first).unwrap_or(u32::MAX),
            workers: u32::try_from(held.workers).unwrap_or(u32::MAX),
            more: held.more,
        }),
    })
}

fn encode_ack(ack: zds::Ack) -> Vec<u8> {
    let payload = zds::workload_response::Payload::Ack(ack);
    zds::WorkloadResponse {
        payload: Some(payload),
    }
    .encode_to_vec()
}

/// Reads one message. `workers` is what the hello declared.
///
/// # Errors
/// See [`ProtocolError`].
pub fn decode(bytes: &[u8], fds: Vec<OwnedFd>, workers: usize) -> Result<Request, ProtocolError> {
    use zds::workload_request::Payload;
    let message = zds::WorkloadRequest::decode(bytes).map_err(ProtocolError::Decode)?;
    let without = |request, fds: &Vec<OwnedFd>| match fds.len() {
        0 => Ok(()),
        got => Err(ProtocolError::Descriptors {
            request,
            got,
            expected: 0,
        }),
    };
    match message.payload.ok_or(ProtocolError::Empty)? {
        Payload::Add(add) => decode_add(add, fds, workers).map(Request::Add),
        Payload::Del(del) => {
            without("del", &fds)?;
            Ok(Request::Del {
                uid: named("del", del.uid)?,
            })
        }
        Payload::Keep(keep) => {
            without("keep", &fds)?;
            Ok(Request::Keep {
                uid: named("keep", keep.uid)?,
            })
        }
        Payload::SnapshotSent(_) => {
            without("snapshot", &fds)?;
            Ok(Request::SnapshotSent)
        }
    }
}

fn named(request: &'static str, uid: String) -> Result<String, ProtocolError> {
    if uid.is_empty() {
        return Err(ProtocolError::Missing {
            request,
            field: "uid",
        });
    }
    Ok(uid)
}

fn decode_add(
    add: zds::AddWorkload,
    fds: Vec<OwnedFd>,
    workers: usize,
) -> Result<Add, ProtocolError> {
    let got = fds.len();
    let roles = match &add.ambit {
        Some(sockets) => sockets
            .roles
            .iter()
            .map(|value| role_from_wire(*value).ok_or(ProtocolError::Role { value: *value }))
            .collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    let (first, count) = match &add.ambit {
        Some(sockets) if roles.is_empty() => (index(sockets.first_worker), 0),
        Some(sockets) => (index(sockets.first_worker), index(sockets.workers)),
        None => (0, 0),
    };
    let last = first.saturating_add(count);
    if last > workers {
        return Err(ProtocolError::Worker {
            worker: last,
            workers,
        });
    }
    let expected = 1 + roles.len() * count;
    let mut fds = fds.into_iter();
    let (Some(netns), true) = (fds.next(), got == expected) else {
        return Err(ProtocolError::Descriptors {
            request: "add",
            got,
            expected,
        });
    };
    let missing = |field| ProtocolError::Missing {
        request: "add",
        field,
    };
    let info = add.workload_info.ok_or(missing("workload_info"))?;
    let places = roles
        .iter()
        .flat_map(|role| (first..last).map(|worker| (*role, worker)));
    let listeners = places
        .zip(fds)
        .map(|((role, worker), fd)| Listener { role, worker, fd })
        .collect();
    Ok(Add {
        uid: named("add", add.uid)?,
        identity: PodIdentity {
            name: info.name.into(),
            namespace: info.namespace.into(),
            service_account: info.service_account.into(),
        },
        netns,
        sockets: add.ambit.map(|sockets| Sockets {
            listeners,
            first,
            more: sockets.more,
        }),
    })
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
