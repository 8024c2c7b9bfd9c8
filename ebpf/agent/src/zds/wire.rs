//! Messages of ZDS as bytes. Pure.

use ambit_api::zds::{
    Ack, AddWorkload, AmbitSockets, DelWorkload, SnapshotSent, Version, WorkloadInfo,
    WorkloadRequest, WorkloadResponse, ZdsHello, workload_request, workload_response,
};
use prost::Message;

use crate::listeners::ROLES;
use crate::proxy::PodIdentity;

/// Longest message a proxy may send, in bytes.
pub(super) const MAX_MESSAGE: usize = 4096;

/// A proxy sent something that is not ZDS.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("not a protobuf message")]
    Decode(#[source] prost::DecodeError),
    #[error("ZDS version {0} is not supported")]
    Version(i32),
    #[error("the message has no payload")]
    Empty,
    #[error("hello with {0} workers")]
    Workers(u32),
}

/// Reads a hello: the worker count, if the proxy takes listeners.
pub(super) fn hello(bytes: &[u8]) -> Result<Option<u32>, WireError> {
    let hello = ZdsHello::decode(bytes).map_err(WireError::Decode)?;
    if hello.version != Version::V1 as i32 {
        return Err(WireError::Version(hello.version));
    }
    match hello.ambit.map(|ambit| ambit.workers) {
        Some(workers @ (0 | MAX_WORKERS_PLUS_ONE..)) => Err(WireError::Workers(workers)),
        workers => Ok(workers),
    }
}

/// Reads an answer.
pub(super) fn ack(bytes: &[u8]) -> Result<Ack, WireError> {
    let response = WorkloadResponse::decode(bytes).map_err(WireError::Decode)?;
    match response.payload {
        Some(workload_response::Payload::Ack(ack)) => Ok(ack),
        None => Err(WireError::Empty),
    }
}

/// One message of an offer: which workers' listeners go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u32,
    pub(super) workers: u32,
    pub(super) more: bool,
}

/// Splits an offer so that namespace and descriptors of each part fit a message.
pub(super) fn parts(workers: u32) -> impl Iterator<Item = Part> {
    let most = WORKERS_PER_MESSAGE;
    (0..workers).step_by(most as usize).map(move |first| Part {
        first,
        workers: most.min(workers - first),
        more: first + most < workers,
    })
}

pub(super) fn offer(pod: &PodIdentity, part: Part) -> Vec<u8> {
    add(
        pod,
        AmbitSockets {
            roles: ROLES.map(|role| role as i32).to_vec(),
            first_worker: part.first,
            workers: part.workers,
            more: part.more,
        },
    )
}

pub(super) fn question(pod: &PodIdentity, first: u32) -> Vec<u8> {
    add(
        pod,
        AmbitSockets {
            roles: Vec::new(),
            first_worker: first,
            workers: 0,
            more: false,
        },
    )
}

pub(super) fn delete(uid: &str) -> Vec<u8> {
    encode(workload_request::Payload::Del(DelWorkload {
        uid: uid.into(),
    }))
}

pub(super) fn snapshot_sent() -> Vec<u8> {
    encode(workload_request::Payload::SnapshotSent(SnapshotSent {}))
}

fn add(pod: &PodIdentity, sockets: AmbitSockets) -> Vec<u8> {
    encode(workload_request::Payload::Add(AddWorkload {
        uid: pod.uid.as_ref().into(),
        workload_info: Some(WorkloadInfo {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
        }),
        ambit: Some(sockets),
    }))
}

fn encode(payload: workload_request::Payload) -> Vec<u8> {
    WorkloadRequest {
        payload: Some(payload),
    }
    .encode_to_vec()
}

/// One descriptor is the namespace; each worker has one per role.
const WORKERS_PER_MESSAGE: u32 = (ambit_net::fd_passing::MAX_FDS as u32 - 1) / ROLES.len() as u32;
/// More than any machine has; a higher count is a mistake.
const MAX_WORKERS_PLUS_ONE: u32 = 1025;

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_api::zds::AmbitHello;

    #[test]
    fn hellos_are_read_strictly() {
        let hello_with = |version, workers: Option<u32>| {
            ZdsHello {
                version,
                ambit: workers.map(|workers| AmbitHello { workers }),
            }
            .encode_to_vec()
        };
        assert_eq!(hello(&hello_with(1, None)).unwrap(), None);
        assert_eq!(hello(&hello_with(1, Some(4))).unwrap(), Some(4));
        assert!(matches!(
            hello(&hello_with(2, None)),
            Err(WireError::Version(2))
        ));
        assert!(matches!(
            hello(&hello_with(1, Some(0))),
            Err(WireError::Workers(0))
        ));
        assert!(hello(&hello_with(1, Some(1025))).is_err());
        assert!(matches!(hello(b"\xff\xff\xff"), Err(WireError::Decode(_))));
        assert!(matches!(ack(b""), Err(WireError::Empty)));
    }

    #[test]
    fn an_upstream_proxy_s_hello_is_two_bytes() {
        assert_eq!(hello(&[0x08, 0x01]).unwrap(), None);
    }

    #[test]
    fn offers_are_split_so_that_every_part_fits() {
        let of = |workers| parts(workers).collect::<Vec<_>>();
        assert_eq!(
            of(2),
            [Part {
                first: 0,
                workers: 2,
                more: false
            }]
        );
        assert_eq!(
            of(50),
            [Part {
                first: 0,
                workers: 50,
                more: false
            }]
        );
        assert_eq!(
            of(128)
                .iter()
                .map(|part| (part.first, part.workers, part.more))
                .collect::<Vec<_>>(),
            [(0, 50, true), (50, 50, true), (100, 28, false)]
        );
        for workers in 1..=1024 {
            let all = of(workers);
            assert_eq!(all.iter().map(|part| part.workers).sum::<u32>(), workers);
            assert!(
                all.iter()
                    .all(|part| part.workers as usize * ROLES.len() < 253)
            );
        }
    }
}
