//! The proxy's side against an agent in the same process, over a real socket pair.

use super::*;
use crate::capture::listeners::OpenPlan;
use crate::capture::table::TableSettings;
use crate::config::Config;
use crate::fixtures::snapshot;
use crate::metrics::{Metrics, PodMetrics};
use crate::state::State;
use crate::thread;
use crate::worker::Shared;
use ambit_api::zds;
use ambit_identity::{InProcessCa, SecretStore};
use ambit_net::Netns;
use ambit_runtime::drain::{self, Trigger};
use ambit_runtime::tasks::{self, End, Task};
use ambit_telemetry::access_log::AccessLog;
use ambit_telemetry::logging::Format;
use ambit_telemetry::sink::Sink;
use prometheus_client::registry::Registry;
use prost::Message as _;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

const WORKERS: usize = 2;
const ROLES: [i32; 2] = [1, 3];

/// A proxy with real workers, and the agent's end of its connection.
struct Session {
    agent: SeqPacket,
    proxy: Task<(SessionError, PodTable)>,
    snapshots: tokio::sync::watch::Receiver<usize>,
    _trigger: Trigger,
}

fn table() -> (PodTable, PodMetrics, Trigger) {
    let sink = Sink::start(std::io::sink(), 100).unwrap();
    let metrics = Metrics::register(&mut Registry::default(), sink.clone());
    let config = Config::from_env(&BTreeMap::<String, String>::new()).unwrap();
    let authority = Arc::new(InProcessCa::new("test").unwrap());
    let (secrets, _) = SecretStore::new(authority, ambit_identity::store::StoreConfig::default());
    let pods = metrics.pods.clone();
    let shared = Arc::new(Shared {
        config,
        state: State::new(snapshot(vec![])),
        secrets,
        metrics,
        access_log: AccessLog::new(Format::Plain, sink),
    });
    let (trigger, watch) = drain::channel();
    let workers = (0..WORKERS)
        .map(|index| {
            thread::start(index, shared.clone(), watch.clone())
                .unwrap()
                .0
        })
        .collect();
    let open = OpenPlan {
        workers: WORKERS,
        ipv6: true,
        dns: false,
        keepalive: None,
    };
    let settings = TableSettings {
        open,
        packet_mark: 0x539,
    };
    let (table, _) = PodTable::new(settings, workers, pods.clone());
    (table, pods, trigger)
}

async fn connect(mut table: PodTable, trigger: Trigger) -> Session {
    let (agent, socket) = SeqPacket::pair().unwrap();
    let (snapshot, snapshots) = tokio::sync::watch::channel(0);
    let proxy = tasks::spawn("proxy", async move {
        let Err(error) = serve(&socket, &mut table, || {
            snapshot.send_modify(|count| *count += 1)
        })
        .await;
        (error, table)
    });
    let mut buffer = [0; 256];
    let (len, _) = agent.recv(&mut buffer).await.unwrap();
    let hello = zds::ZdsHello::decode(&buffer[..len]).unwrap();
    assert_eq!(hello.ambit.unwrap().workers as usize, WORKERS);
    Session {
        agent,
        proxy,
        snapshots,
        _trigger: trigger,
    }
}

impl Session {
    async fn ask(
        &self,
        payload: zds::workload_request::Payload,
        fds: &[BorrowedFd<'_>],
    ) -> (zds::Ack, Vec<OwnedFd>) {
        let bytes = zds::WorkloadRequest {
            payload: Some(payload),
        }
        .encode_to_vec();
        self.agent.send(&bytes, fds).await.unwrap();
        let mut buffer = [0; 1024];
        let (len, fds) = self.agent.recv(&mut buffer).await.unwrap();
        let response = zds::WorkloadResponse::decode(&buffer[..len]).unwrap();
        let Some(zds::workload_response::Payload::Ack(ack)) = response.payload else {
            panic!()
        };
        (ack, fds)
    }

    async fn add(&self, uid: &str, listeners: &[OwnedFd]) -> (zds::Ack, Vec<OwnedFd>) {
        let netns = Netns::current().unwrap();
        let fds: Vec<_> = std::iter::once(netns.as_fd())
            .chain(listeners.iter().map(AsFd::as_fd))
            .collect();
        let roles = if listeners.is_empty() {
            Vec::new()
        } else {
            ROLES.to_vec()
        };
        let sockets = zds::AmbitSockets {
            roles,
            first_worker: 0,
            workers: WORKERS as u32,
            more: false,
        };
        let add = zds::AddWorkload {
            uid: uid.into(),
            workload_info: Some(zds::WorkloadInfo {
                name: uid.into(),
                namespace: "shop".into(),
                service_account: "sa".into(),
            }),
            ambit: Some(sockets),
        };
        self.ask(zds::workload_request::Payload::Add(add), &fds)
            .await
    }

    async fn snapshot_sent(&self) {
        let (ack, _) = self
            .ask(
                zds::workload_request::Payload::SnapshotSent(zds::SnapshotSent {}),
                &[],
            )
            .await;
        assert_eq!(ack.error, "");
    }

    async fn end(self) -> (PodTable, Trigger) {
        drop(self.agent);
        let End::Returned((error, table)) = self.proxy.await else {
            panic!()
        };
        assert!(matches!(error, SessionError::Closed), "{error}");
        (table, self._trigger)
    }
}

fn listeners() -> Vec<OwnedFd> {
    let one = |_| TcpListener::bind("127.0.0.1:0").unwrap().into();
    (0..WORKERS * ROLES.len()).map(one).collect()
}

fn inode(fd: &OwnedFd) -> u64 {
    std::fs::File::from(fd.try_clone().unwrap())
        .metadata()
        .unwrap()
        .ino()
}

#[tokio::test]
async fn an_acknowledged_pod_accepts_and_a_restarted_agent_gets_its_listeners_back() {
    let (table, metrics, trigger) = table();
    let session = connect(table, trigger).await;
    let given = listeners();
    let (ack, _) = session.add("a", &given).await;
    assert_eq!((ack.error.as_str(), metrics.active.get()), ("", 1));
    session.snapshot_sent().await;
    assert_eq!(*session.snapshots.borrow(), 1);

    let (table, trigger) = session.end().await;
    let session = connect(table, trigger).await;
    let (ack, held) = session.add("a", &[]).await;
    let sockets = ack.held.unwrap();
    assert_eq!(
        (sockets.roles.as_slice(), sockets.workers as usize),
        (&ROLES[..], WORKERS)
    );
    let inodes = |fds: &[OwnedFd]| fds.iter().map(inode).collect::<Vec<_>>();
    assert_eq!(
        inodes(&held),
        inodes(&given),
        "the same sockets, in the same order"
    );
    let (ack, held) = session.add("b", &[]).await;
    assert!(
        ack.held.is_none() && held.is_empty(),
        "a pod we do not serve"
    );
    session.snapshot_sent().await;
    assert_eq!(metrics.active.get(), 1);
}

#[tokio::test]
async fn pods_a_snapshot_does_not_name_go_and_kept_ones_stay() {
    let (table, metrics, trigger) = table();
    let session = connect(table, trigger).await;
    for uid in ["a", "b", "c"] {
        session.add(uid, &listeners()).await;
    }
    session.snapshot_sent().await;
    assert_eq!(metrics.active.get(), 3);
    let (table, trigger) = session.end().await;
    let session = connect(table, trigger).await;
    session.add("a", &listeners()).await;
    let keep = zds::KeepWorkload { uid: "b".into() };
    session
        .ask(zds::workload_request::Payload::Keep(keep), &[])
        .await;
    session.snapshot_sent().await;
    assert_eq!((metrics.active.get(), metrics.stopped.get()), (2, 1));
    let del = zds::DelWorkload { uid: "a".into() };
    session
        .ask(zds::workload_request::Payload::Del(del), &[])
        .await;
    assert_eq!(metrics.active.get(), 1);
}

#[tokio::test]
async fn a_pod_given_again_with_the_same_sockets_is_not_touched() {
    let (table, metrics, trigger) = table();
    let session = connect(table, trigger).await;
    let given = listeners();
    session.add("a", &given).await;
    session.add("a", &given).await;
    session.add("a", &listeners()).await;
    assert_eq!((metrics.active.get(), metrics.started.get()), (1, 1));
}

#[tokio::test]
async fn nonsense_ends_the_connection() {
    let (table, _, trigger) = table();
    let session = connect(table, trigger).await;
    session.agent.send(&[0xff; 8], &[]).await.unwrap();
    let End::Returned((error, _)) = session.proxy.await else {
        panic!()
    };
    assert!(matches!(error, SessionError::Protocol(_)), "{error}");
}
