//! App ─ TCP ─ relay ─ HBONE ─ relay ─ TCP ─ app, over loopback.

use super::*;
use ambit_net::relay::{self, Counters, RelayEnd, Side, TcpEndpoint};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Path {
    client: TcpStream,
    server: TcpStream,
    near: JoinHandle<RelayEnd>,
    far: tokio::sync::oneshot::Receiver<RelayEnd>,
    /// Keeps the tunnel's far side served.
    _serve: JoinSet<()>,
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(to), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

impl Path {
    async fn new() -> Self {
        let world = World::new().await;
        let (client, captured) = tcp_pair().await;
        let (dialled, server) = tcp_pair().await;
        let (wire, far_wire) = tcp_pair().await;
        let (tell, far) = tokio::sync::oneshot::channel();
        let mut job = Some((dialled, tell));
        let svid = world.server.clone();
        let settings = world.settings.clone();
        let mut serve = JoinSet::new();
        serve.spawn_local(async move {
            let tunnel = accept(far_wire, &svid, &settings).await.unwrap();
            let handler = |incoming: Incoming| {
                let (tcp, tell) = job.take().unwrap();
                async move {
                    let stream = incoming.accept(None).unwrap();
                    let counters = Counters::default();
                    let end = relay::run(stream, TcpEndpoint(tcp), &counters).await;
                    tell.send(end).unwrap();
                }
            };
            let _ = tunnel.serve(std::future::pending(), handler).await;
        });
        let tunnel = connect(wire, &world.client, &world.expected(), &world.settings)
            .await
            .unwrap();
        let opened = tunnel.open(&request("10.0.0.2:80")).await.unwrap();
        let near = tokio::task::spawn_local(async move {
            let counters = Counters::default();
            relay::run(TcpEndpoint(captured), opened.stream, &counters).await
        });
        Self {
            client,
            server,
            near,
            far,
            _serve: serve,
        }
    }
}

#[test]
fn bulk_arrives_whole_both_ways_past_slow_readers_and_half_close() {
    const LENGTH: usize = 24 << 20;
    let pattern = |seed: usize| -> Vec<u8> {
        (0..LENGTH)
            .map(|i| ((i * 29 + seed) ^ (i >> 13)) as u8)
            .collect()
    };
    worker(false, async {
        let path = Path::new().await;
        let (up, down) = (pattern(3), pattern(4));
        let exchange = |mut stream: TcpStream, send: Vec<u8>, chunk: usize| async move {
            let (mut read, mut write) = stream.split();
            let mut got = Vec::with_capacity(LENGTH);
            let sending = async {
                write.write_all(&send).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let receiving = async {
                let mut buffer = vec![0; chunk];
                loop {
                    let n = read.read(&mut buffer).await.unwrap();
                    if n == 0 {
                        break;
                    }
                    got.extend_from_slice(&buffer[..n]);
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(sending, receiving);
            got
        };
        let (at_client, at_server) = tokio::join!(
            exchange(path.client, up.clone(), 1 << 20),
            exchange(path.server, down.clone(), 8192),
        );
        assert!(at_server == up && at_client == down);
        assert!(matches!(path.near.await.unwrap(), RelayEnd::Finished));
        assert!(matches!(path.far.await.unwrap(), RelayEnd::Finished));
    });
}

#[test]
fn the_client_may_end_first_and_still_get_its_answer() {
    worker(false, async {
        let mut path = Path::new().await;
        path.client.write_all(b"question").await.unwrap();
        path.client.shutdown().await.unwrap();
        let mut got = Vec::new();
        path.server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        path.server.write_all(b"answer").await.unwrap();
        drop(path.server);
        got.clear();
        path.client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"answer");
        assert!(matches!(path.near.await.unwrap(), RelayEnd::Finished));
        assert!(matches!(path.far.await.unwrap(), RelayEnd::Finished));
    });
}

#[test]
fn a_tcp_reset_crosses_the_tunnel_in_either_direction() {
    worker(false, async {
        for by in [Side::Client, Side::Server] {
            let path = Path::new().await;
            let (near, mut far) = match by {
                Side::Client => (path.client, path.server),
                Side::Server => (path.server, path.client),
            };
            near.set_zero_linger().unwrap();
            drop(near);
            let error = far.read(&mut [0; 8]).await.expect_err("a RST, not a FIN");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            for end in [path.near.await.unwrap(), path.far.await.unwrap()] {
                match end {
                    RelayEnd::Broken { by: who, error } => {
                        assert_eq!(who, by);
                        assert!(error.is_reset(), "{error:?}");
                    }
                    RelayEnd::Finished => panic!("a reset is not a clean end"),
                }
            }
        }
    });
}

#[test]
fn a_relay_killed_on_one_side_resets_the_application_on_the_other() {
    worker(false, async {
        let mut path = Path::new().await;
        path.client.write_all(b"x").await.unwrap();
        path.server.read_exact(&mut [0]).await.unwrap();
        path.near.abort();
        for mut side in [path.client, path.server] {
            let error = side.read(&mut [0; 8]).await.expect_err("a RST, not a FIN");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    });
}
