//! Cluster DNS, as every node has it.
//! In: queries over UDP and TCP at a cluster DNS address in the node's namespace. Out: answers from
//! the [`Cluster`] as it is now.
//! Owns: two sockets per node and family.
//! Never here: forwarding; names outside the cluster do not exist in a lab.
//! Spec: RFC 1035, Kubernetes DNS-based service discovery 1.1.0.

pub mod zone;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use crate::cluster::Cluster;
use crate::netns::{self, EnterError};

/// How long a TCP client may take for one exchange.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// TCP clients served at once on one node; later ones wait in the backlog.
const TCP_CLIENTS: usize = 256;

/// The sockets of one node's responder in one family.
pub struct Responder {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Responder {
    /// Binds port 53 of this cluster DNS address inside the node's namespace.
    ///
    /// # Errors
    /// The kernel's; [`EnterError`] inside [`io::Error`] if the namespace is gone.
    pub async fn bind(node: &Path, address: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::from((address, 53));
        let sockets = netns::inside_async(node, move || {
            Ok::<_, io::Error>((
                std::net::UdpSocket::bind(address)?,
                std::net::TcpListener::bind(address)?,
            ))
        });
        let (udp, tcp) = sockets
            .await
            .map_err(|error: EnterError| io::Error::other(error))??;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self {
            udp: UdpSocket::from_std(udp)?,
            tcp: TcpListener::from_std(tcp)?,
        })
    }

    /// Answers until dropped.
    pub async fn serve(self, cluster: watch::Receiver<Arc<Cluster>>) {
        let mut clients = JoinSet::new();
        let mut datagram = [0; 4096];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut datagram) => {
                    let Ok((n, peer)) = received else { continue };
                    let limit = |query: &Message| {
                        usize::from(query.edns.as_ref().map_or(512, |edns| edns.max_payload().max(512)))
                    };
                    if let Some(reply) = answer(&datagram[..n], &cluster, limit) {
                        let _ = self.udp.send_to(&reply, peer).await;
                    }
                }
                accepted = self.tcp.accept(), if clients.len() < TCP_CLIENTS => {
                    if let Ok((stream, _)) = accepted {
                        clients.spawn(client(stream, cluster.clone()));
                    }
                }
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

async fn client(mut stream: TcpStream, cluster: watch::Receiver<Arc<Cluster>>) {
    while let Ok(Ok(())) = tokio::time::timeout(TCP_IDLE, exchange(&mut stream, &cluster)).await {}
}

async fn exchange(
    stream: &mut TcpStream,
    cluster: &watch::Receiver<Arc<Cluster>>,
) -> io::Result<()> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await?;
    let reply = answer(&query, cluster, |_| usize::from(u16::MAX))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&reply).await
}

fn answer(
    bytes: &[u8],
    cluster: &watch::Receiver<Arc<Cluster>>,
    limit: impl Fn(&Message) -> usize,
) -> Option<Vec<u8>> {
    let query = Message::from_vec(bytes).ok()?;
    let cluster = cluster.borrow().clone();
    let reply = zone::reply(&query, &cluster);
    let wire = reply.to_vec().ok()?;
    debug!(queries = ?query.queries, answers = reply.answers.len(), "dns");
    if wire.len() > limit(&query) {
        reply.truncate().to_vec().ok()
    } else {
        Some(wire)
    }
}
