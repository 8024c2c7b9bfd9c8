//! A node proxy as the agent sees it: says hello, takes descriptors, answers.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use ambit_api::zds::{
    Ack, AddWorkload, AmbitHello, AmbitSockets, SocketRole, WorkloadRequest, WorkloadResponse,
    ZdsHello, workload_request::Payload, workload_response,
};
use ambit_net::fd_passing::SeqPacket;
use ambit_net::{original_dst, socket};
use prost::Message;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ground::{Ground, PATIENCE};

/// What the agent said, in order.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum Heard {
    /// Listeners for so many workers.
    Offer(String, u32),
    /// The question what is held.
    Asked(String),
    Delete(String),
    SnapshotSent,
}

/// Listeners by pod: in wire order, with the worker count.
type Held = Arc<Mutex<BTreeMap<String, (u32, Vec<OwnedFd>)>>>;

pub(crate) struct Proxy {
    workers: Option<u32>,
    held: Held,
    heard: mpsc::UnboundedReceiver<Heard>,
    talk: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn connect(node: &Ground, workers: Option<u32>) -> Self {
        let held = Held::default();
        let (talk, heard) = start(node, workers, held.clone()).await;
        Self {
            workers,
            held,
            heard,
            talk,
        }
    }

    /// To a new agent, keeping what it holds.
    pub(crate) async fn reconnect(&mut self, node: &Ground) {
        self.talk.shutdown().await;
        (self.talk, self.heard) = start(node, self.workers, self.held.clone()).await;
    }

    pub(crate) async fn heard(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv())
            .await
            .expect("the agent says something")
            .expect("the connection lives")
    }

    /// The next thing of another kind than offers and snapshots.
    pub(crate) async fn heard_last(&mut self) -> Heard {
        loop {
            match self.heard().await {
                Heard::Offer(..) | Heard::SnapshotSent => {}
                other => return other,
            }
        }
    }

    /// Accepts one connection of the role, on whichever worker it comes.
    pub(crate) async fn accept(
        &mut self,
        uid: &str,
        role: SocketRole,
    ) -> (TcpStream, SocketAddr, SocketAddr) {
        let wait = async {
            while !self.held.lock().unwrap().contains_key(uid) {
                self.heard().await;
            }
            let mut accepts = JoinSet::new();
            for listener in self.listeners(uid, role) {
                accepts.spawn(async move { listener.accept().await });
            }
            accepts.join_next().await.unwrap().unwrap().unwrap()
        };
        let (stream, peer) = timeout(PATIENCE, wait).await.expect("a connection comes");
        let local = original_dst::local(&stream).unwrap();
        (stream, local, original_dst::canonical(peer))
    }

    /// One DNS datagram: what it says, who sent it, to which address.
    pub(crate) async fn datagram(&self, uid: &str) -> (String, SocketAddr, IpAddr) {
        let mut buffer = [0; 512];
        let socket = self.dns(uid);
        let got = timeout(PATIENCE, socket::recv_datagram(&socket, &mut buffer))
            .await
            .expect("a datagram comes")
            .unwrap();
        let text = String::from_utf8(buffer[..got.len].to_vec()).unwrap();
        (text, got.peer, got.local)
    }

    pub(crate) async fn answer(&self, uid: &str, text: &str, to: SocketAddr, from: IpAddr) {
        let socket = self.dns(uid);
        socket::send_datagram(&socket, text.as_bytes(), to, from)
            .await
            .unwrap();
    }

    fn dns(&self, uid: &str) -> UdpSocket {
        let held = self.held.lock().unwrap();
        let (workers, fds) = &held[uid];
        assert_eq!(
            *workers, 1,
            "which worker gets a datagram is the kernel's choice"
        );
        let copy = fds[3].try_clone().unwrap();
        UdpSocket::from_std(std::net::UdpSocket::from(copy)).unwrap()
    }

    fn listeners(&self, uid: &str, role: SocketRole) -> Vec<TcpListener> {
        let held = self.held.lock().unwrap();
        let (workers, fds) = &held[uid];
        let workers = *workers as usize;
        let first = (role as usize - 1) * workers;
        fds[first..first + workers]
            .iter()
            .map(|fd| {
                let copy = fd.try_clone().unwrap();
                TcpListener::from_std(std::net::TcpListener::from(copy)).unwrap()
            })
            .collect()
    }
}

async fn start(
    node: &Ground,
    workers: Option<u32>,
    held: Held,
) -> (JoinSet<()>, mpsc::UnboundedReceiver<Heard>) {
    let socket = SeqPacket::connect(&node.zds_socket()).unwrap();
    let hello = ZdsHello {
        version: 1,
        ambit: workers.map(|workers| AmbitHello { workers }),
    };
    socket.send(&hello.encode_to_vec(), &[]).await.unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let mut talk = JoinSet::new();
    talk.spawn(async move {
        let mut buffer = vec![0; 4096];
        // Ends with the connection: when the agent dies.
        while let Ok((len @ 1.., fds)) = socket.recv(&mut buffer).await {
            let request = WorkloadRequest::decode(&buffer[..len]).unwrap();
            answer(&socket, &held, request, fds, &told).await;
        }
    });
    (talk, heard)
}

async fn answer(
    socket: &SeqPacket,
    held: &Held,
    request: WorkloadRequest,
    fds: Vec<OwnedFd>,
    told: &mpsc::UnboundedSender<Heard>,
) {
    let mut reply = Ack::default();
    let mut back: Vec<OwnedFd> = Vec::new();
    let heard = match request.payload.unwrap() {
        Payload::Add(add) => add_workload(held, add, fds, &mut reply, &mut back),
        Payload::Del(del) => {
            assert!(fds.is_empty());
            held.lock().unwrap().remove(&del.uid);
            Heard::Delete(del.uid)
        }
        Payload::SnapshotSent(_) => Heard::SnapshotSent,
        Payload::Keep(_) => panic!("the agent always has the namespace at hand"),
    };
    let response = WorkloadResponse {
        payload: Some(workload_response::Payload::Ack(reply)),
    };
    let back: Vec<_> = back.iter().map(AsFd::as_fd).collect();
    // The agent may have been killed by the test.
    let _ = socket.send(&response.encode_to_vec(), &back).await;
    let _ = told.send(heard);
}

fn add_workload(
    held: &Held,
    add: AddWorkload,
    mut fds: Vec<OwnedFd>,
    reply: &mut Ack,
    back: &mut Vec<OwnedFd>,
) -> Heard {
    let info = add.workload_info.unwrap();
    assert_eq!(
        (info.namespace.as_str(), info.service_account.as_str()),
        ("shop", "web-account")
    );
    let sockets = add.ambit.expect("this proxy said it takes listeners");
    ambit_net::Netns::from_fd(fds.remove(0)).expect("the first descriptor is the namespace");
    let mut held = held.lock().unwrap();
    if sockets.roles.is_empty() {
        if let Some((workers, fds)) = held.get(&add.uid) {
            reply.held = Some(AmbitSockets {
                roles: vec![1, 2, 3, 4, 5],
                first_worker: 0,
                workers: *workers,
                more: false,
            });
            back.extend(fds.iter().map(|fd| fd.try_clone().unwrap()));
        }
        return Heard::Asked(add.uid);
    }
    assert_eq!(sockets.roles, [1, 2, 3, 4, 5]);
    assert_eq!(fds.len(), 5 * sockets.workers as usize);
    held.insert(add.uid.clone(), (sockets.workers, fds));
    Heard::Offer(add.uid, sockets.workers)
}
