//! A TLS port: our own certificate, renewed at half its life, in front of gRPC or of HTTP.
//! Each certificate has its own server; the listener stays. A server that is replaced tells its
//! connections to go away, streams that run end in their own time.

use super::Authority;
use super::by_path::{ByPath, Served};
use super::ca::{CaServer, CaService};
use crate::config::of_revision;
use crate::signing::{IssueError, Signer, Signing, current};
use ambit_ca::authority::ServerCertificate;
use ambit_identity::https::HttpsAcceptor;
use ambit_index::MeshConfig;
use ambit_runtime::drain;
use ambit_runtime::readiness::Gate;
use ambit_runtime::tasks::TaskGroup;
use anyhow::Context;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

const HANDSHAKE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Accepted connections that wait for a handshake.
const QUEUE: usize = 64;
const MAX_STREAMS: u32 = 256;
/// Longest header list, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;
/// Pause after an accept that failed: mostly the process is out of descriptors; and the first one after there was no
/// certificate.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between tries to get a certificate.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Names clients know us by: those of both Services, as short and as long as resolvers allow; in another revision than
/// the default one also with that behind.
pub(crate) fn names(namespace: &str, mesh: &MeshConfig) -> Vec<String> {
    let domain = &mesh.cluster_domain;
    let of = |service: &str| {
        [
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{domain}"),
            format!("{service}.{namespace}"),
            service.to_owned(),
        ]
    };
    let plain = ["istiod", "ambit-controller"].map(str::to_owned);
    let own = plain.clone().map(|name| of_revision(&name, &mesh.revision));
    let mut names: Vec<String> = Vec::new();
    for name in own.iter().chain(&plain).flat_map(|service| of(service)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.push("localhost".to_owned());
    names
}

/// A bound TLS port.
pub(crate) struct TlsPort {
    listener: TcpListener,
    addr: SocketAddr,
    authority: Arc<Authority>,
    names: Vec<String>,
    /// Opened when there is a certificate.
    ready: Option<Gate>,
}

impl TlsPort {
    pub(crate) async fn bind(
        addr: SocketAddr,
        authority: Arc<Authority>,
        names: Vec<String>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen on {addr}"))?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            authority,
            names,
            ready: None,
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves xDS and certificates until the drain is over. The gate is opened when there is a certificate.
    pub(crate) async fn serve_mesh(
        mut self,
        (xds, ca): (ambit_xds::Server, CaService),
        ready: Gate,
        drain: drain::Watch,
    ) {
        let service = ByPath {
            xds: xds.into_service(),
            ca: CaServer(ca),
        };
        self.ready = Some(ready);
        self.serve(service, Clients::Grpc, drain).await;
    }

    /// Serves HTTP/1.1 and HTTP/2 until the drain is over.
    pub(crate) async fn serve_http<S: Served>(self, service: S, drain: drain::Watch) {
        self.serve(service, Clients::Http, drain).await;
    }

    async fn serve<S: Served>(self, service: S, clients: Clients, drain: drain::Watch) {
        let mut servers = TaskGroup::new("tls port");
        let mut ending = drain.clone();
        let mut made = tokio::select! {
            _ = ending.signalled() => None,
            made = self.obtained(clients) => Some(made),
        };
        while let Some(Made {
            front,
            renew_in,
            signing,
        }) = made
        {
            servers.reap();
            if let Some(ready) = &self.ready {
                ready.open();
            }
            let (accepted, incoming) = mpsc::channel::<TcpStream>(QUEUE);
            let incoming = ReceiverStream::new(incoming);
            servers.spawn("tls", front.serve(service.clone(), incoming, drain.clone()));
            // The one that is there serves until the next one is.
            let next = async {
                tokio::select! {
                    () = tokio::time::sleep(renew_in) => {}
                    () = another(self.authority.signer.clone(), &signing) => {
                        let addr = self.addr;
                        tracing::info!(%addr, "the TLS port gets a certificate of another authority");
                    }
                }
                self.obtained(clients).await
            };
            made = self.accept(&accepted, next, drain.clone()).await;
        }
        // Who comes now is refused at once, and not left to wait for a handshake that nobody makes.
        drop(self);
        while servers.next().await.is_some() {}
    }

    /// Hands connections over until another certificate is there or the drain begins.
    async fn accept(
        &self,
        accepted: &mpsc::Sender<TcpStream>,
        next: impl Future<Output = Made>,
        mut drain: drain::Watch,
    ) -> Option<Made> {
        tokio::pin!(next);
        loop {
            let stream = tokio::select! {
                made = &mut next => return Some(made),
                _ = drain.signalled() => return None,
                stream = self.listener.accept() => stream,
            };
            match stream {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(src.addr = %peer, %error, "no TCP_NODELAY");
                    }
                    if accepted.send(stream).await.is_err() {
                        // Its server ended, which the log says.
                        return Some(next.await);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed on the TLS port");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A server with a fresh certificate, however long that takes.
    async fn obtained(&self, clients: Clients) -> Made {
        let mut pause = PAUSE;
        loop {
            let signing = current(&self.authority.signer);
            match self.front(&signing, clients).await {
                Ok((front, renew_in)) => {
                    return Made {
                        front,
                        renew_in,
                        signing,
                    };
                }
                Err(error) => {
                    let (addr, error) = (self.addr, format!("{error:#}"));
                    tracing::error!(%addr, error, "no certificate for the TLS port");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A server with a fresh certificate, and when to replace it.
    async fn front(
        &self,
        signing: &Signing,
        clients: Clients,
    ) -> anyhow::Result<(Front, Duration)> {
        let now = SystemTime::now();
        let certificate = self.certificate(signing, now).await?;
        let life = certificate
            .not_after
            .duration_since(now)
            .unwrap_or_default();
        let front = Front::new(clients, &certificate)?;
        Ok((front, (life / 2).max(Duration::from_secs(1))))
    }

    async fn certificate(
        &self,
        signing: &Signing,
        now: SystemTime,
    ) -> Result<ServerCertificate, IssueError> {
        let mut ips: Vec<IpAddr> =
            vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        if !self.addr.ip().is_unspecified() && !ips.contains(&self.addr.ip()) {
            ips.push(self.addr.ip());
        }
        let names = (&self.names[..], &ips[..]);
        signing.issuer.server_certificate(names, now).await
    }
}

/// A server with a certificate of its own.
struct Made {
    front: Front,
    renew_in: Duration,
    /// What was trusted when it was made.
    signing: Arc<Signing>,
}

/// Who asks.
#[derive(Clone, Copy)]
enum Clients {
    /// HTTP/2 alone.
    Grpc,
    /// HTTP/1.1, too.
    Http,
}

/// A server with one certificate.
struct Front {
    server: Server,
    /// `None`: the server does the handshakes itself, and offers `h2` alone.
    acceptor: Option<HttpsAcceptor>,
}

impl Front {
    fn new(clients: Clients, certificate: &ServerCertificate) -> anyhow::Result<Self> {
        let server = Server::builder()
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .http2_max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_STREAMS);
        let (chain, key) = (&certificate.chain, &certificate.key);
        Ok(match clients {
            Clients::Grpc => {
                let identity = Identity::from_pem(chain, key);
                let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
                Self {
                    server: server.tls_config(tls)?,
                    acceptor: None,
                }
            }
            Clients::Http => Self {
                server: server.accept_http1(true),
                acceptor: Some(HttpsAcceptor::new(chain, key, HANDSHAKE)?),
            },
        })
    }

    /// Serves what comes in until the drain is over.
    async fn serve<S: Served>(
        self,
        service: S,
        incoming: ReceiverStream<TcpStream>,
        mut drain: drain::Watch,
    ) {
        let Self { server, acceptor } = self;
        let stop = async move {
            drain.signalled().await;
        };
        let served = match acceptor {
            None => {
                let incoming = incoming.map(Ok::<_, std::io::Error>);
                server
                    .serve_with_incoming_shutdown(service, incoming, stop)
                    .await
            }
            Some(acceptor) => {
                let incoming = acceptor.accepted(incoming);
                server
                    .serve_with_incoming_shutdown(service, incoming, stop)
                    .await
            }
        };
        if let Err(error) = served {
            tracing::error!(%error, "the TLS port stopped");
        }
    }
}

/// Waits until something else signs.
async fn another(mut signer: Signer, than: &Signing) {
    let changed = |now: &Arc<Signing>| !now.issuer.signs_like(&than.issuer);
    if signer.wait_for(changed).await.is_err() {
        // Nobody keeps the authority any more: the process ends.
        std::future::pending().await
    }
}
