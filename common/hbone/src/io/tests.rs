//! Pairs of client and server over memory, and a whole path over loopback TCP.

mod failures;
mod path;
mod pooling;
mod refusals;

use super::*;
use crate::wire::ConnectRequest;
use ambit_identity::{InProcessCa, Svid};
use ambit_model::ids::SpiffeId;
use http::{HeaderValue, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);
const KEY_TO: &str = "10.0.0.2:15008";

fn id(account: &str) -> SpiffeId {
    SpiffeId::new("cluster.local", "default", account)
}

/// Runs a test on a worker like the proxy's.
pub(super) fn worker<F: Future>(paused: bool, test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn request(authority: &str) -> ConnectRequest {
    ConnectRequest::new(authority.parse().unwrap())
}

/// Two identities, a server that echoes, and a count of its connections.
struct World {
    ca: InProcessCa,
    client: Arc<Svid>,
    server: Arc<Svid>,
    settings: Settings,
    tasks: Rc<RefCell<JoinSet<()>>>,
    dials: Rc<Cell<usize>>,
    drain: watch::Sender<bool>,
    /// Cuts the connections to servers, without telling either side, when set.
    cut: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let ca = InProcessCa::new("mesh").unwrap();
        Self {
            client: Arc::new(ca.svid(&id("client"), HOUR).await.unwrap()),
            server: Arc::new(ca.svid(&id("server"), HOUR).await.unwrap()),
            ca,
            settings: Settings::default(),
            tasks: Rc::default(),
            dials: Rc::default(),
            drain: watch::Sender::new(false),
            cut: watch::Sender::new(false),
        }
    }

    fn expected(&self) -> Arc<[SpiffeId]> {
        [id("server")].into()
    }

    fn key(&self) -> TunnelKey {
        TunnelKey {
            source: id("client"),
            expected: self.expected(),
            to: KEY_TO.parse().unwrap(),
            from: 1,
        }
    }

    fn pool(&self) -> Pool {
        Pool::new(self.settings.clone())
    }

    /// Dials a new connection to the echo server.
    fn dial(&self) -> impl Future<Output = std::io::Result<DuplexStream>> + 'static + use<> {
        self.dials.set(self.dials.get() + 1);
        let (near, mut near_peer) = duplex(256 * 1024);
        let (mut far_peer, far) = duplex(256 * 1024);
        let mut cut = self.cut.subscribe();
        let serve = serve_echo(
            far,
            self.server.clone(),
            self.settings.clone(),
            self.drain.subscribe(),
        );
        let mut tasks = self.tasks.borrow_mut();
        tasks.spawn_local(serve);
        tasks.spawn_local(async move {
            let copy = tokio::io::copy_bidirectional(&mut near_peer, &mut far_peer);
            let cut = async move { cut.wait_for(|cut| *cut).await.is_ok() };
            tokio::select! {
                _ = copy => {}
                _ = cut => std::future::pending().await,
            }
        });
        std::future::ready(Ok(near))
    }

    async fn open(&self, pool: &Pool, authority: &str) -> Result<Opened, OpenError> {
        let request = request(authority);
        pool.open(&self.key(), &self.client, || self.dial(), &request)
            .await
    }
}

/// A tunnel that no pool holds.
async fn connect<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    io: T,
    svid: &Arc<Svid>,
    expected: &Arc<[SpiffeId]>,
    settings: &Settings,
) -> Result<Rc<Tunnel>, DialError> {
    let (_, alone) = watch::channel(());
    client::connect(io, svid, expected, settings, alone).await
}

async fn serve_echo(
    io: DuplexStream,
    svid: Arc<Svid>,
    settings: Settings,
    mut drain: watch::Receiver<bool>,
) {
    let Ok(tunnel) = accept(io, &svid, &settings).await else {
        return;
    };
    assert_eq!(tunnel.peer().trust_domain(), "cluster.local");
    let drained = async move {
        if drain.wait_for(|drain| *drain).await.is_err() {
            std::future::pending().await
        }
    };
    // How it ends is seen by the client under test.
    let _ = tunnel.serve(drained, echo).await;
}

/// Port 1 is denied, 2 resets, 3 never answers, 4 cuts off after four bytes; others echo.
async fn echo(mut incoming: Incoming) {
    match incoming.request.authority.port {
        1 => incoming.refuse(StatusCode::UNAUTHORIZED, "deny"),
        2 => drop(incoming),
        3 => incoming.cancelled().await,
        port => {
            let baggage = HeaderValue::from_static("service.name=server");
            let Ok(stream) = incoming.accept(Some(baggage)) else {
                return;
            };
            let mut io = stream.into_io();
            if port == 4 {
                io.read_exact(&mut [0; 4]).await.unwrap();
                io.write_all(b"half").await.unwrap();
                return;
            }
            let (mut read, mut write) = tokio::io::split(&mut io);
            if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                // The client may have gone.
                let _ = write.shutdown().await;
            }
        }
    }
}

async fn echoes(opened: Opened) {
    let mut io = opened.stream.into_io();
    io.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
    io.shutdown().await.unwrap();
    assert_eq!(io.read(&mut got).await.unwrap(), 0, "clean end");
}

#[test]
fn a_stream_carries_bytes_both_ways_and_ends_by_half_close() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        let opened = world.open(&pool, "10.0.0.2:80").await.unwrap();
        assert_eq!(opened.peer, id("server"));
        assert_eq!(opened.baggage.as_ref().unwrap(), "service.name=server");
        echoes(opened).await;
        let state = &pool.tunnels()[0];
        assert_eq!((state.streams, state.takes_streams), (0, true));
    });
}

#[test]
fn requests_that_are_no_connect_are_answered_with_400() {
    worker(false, async {
        let world = World::new().await;
        let io = world.dial().await.unwrap();
        let secured = ambit_identity::tls::connect(io, &world.client, &world.expected(), HOUR)
            .await
            .unwrap();
        let (send, connection) = h2::client::handshake(secured.stream).await.unwrap();
        tokio::task::spawn_local(async move { connection.await.unwrap() });
        for (method, uri) in [("GET", "https://10.0.0.2:80/"), ("CONNECT", "web:http")] {
            let request = http::Request::builder().method(method).uri(uri).body(());
            let mut send = send.clone().ready().await.unwrap();
            let Ok(request) = request else {
                continue;
            };
            let (response, _) = send.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{method}");
            assert_eq!(response.headers()["x-ambit-reason"], "bad-request");
        }
    });
}
