//! Relays between real loopback sockets.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A connected pair: the application's end and the proxy's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (app, proxy) = tokio::join!(TcpStream::connect(to), listener.accept());
    (app.unwrap(), proxy.unwrap().0)
}

struct Relayed {
    client: TcpStream,
    server: TcpStream,
    relay: tokio::task::JoinHandle<RelayEnd>,
    counters: std::rc::Rc<Counters>,
}

async fn relayed() -> Relayed {
    let (client, from_client) = pair().await;
    let (server, to_server) = pair().await;
    let counters = std::rc::Rc::new(Counters::default());
    let shared = counters.clone();
    let relay = tokio::task::spawn_local(async move {
        run(TcpEndpoint(from_client), TcpEndpoint(to_server), &shared).await
    });
    Relayed {
        client,
        server,
        relay,
        counters,
    }
}

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

#[test]
fn half_close_keeps_the_other_direction_open() {
    local(async {
        let mut r = relayed().await;
        r.client.write_all(b"question").await.unwrap();
        r.client.shutdown().await.unwrap();
        let mut got = Vec::new();
        r.server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        r.server.write_all(b"a longer answer").await.unwrap();
        r.server.shutdown().await.unwrap();
        got.clear();
        r.client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"a longer answer");
        assert!(matches!(r.relay.await.unwrap(), RelayEnd::Finished));
        assert_eq!(r.counters.from_client(), 8);
        assert_eq!(r.counters.from_server(), 15);
    });
}

#[test]
fn a_reset_reaches_the_other_side_as_a_reset() {
    local(async {
        for by in [Side::Client, Side::Server] {
            let r = relayed().await;
            let (mut far, near) = match by {
                Side::Client => (r.server, r.client),
                Side::Server => (r.client, r.server),
            };
            near.set_zero_linger().unwrap();
            drop(near);
            let error = far.read(&mut [0; 8]).await.expect_err("a RST, not a FIN");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            match r.relay.await.unwrap() {
                RelayEnd::Broken { by: who, error } => {
                    assert_eq!(who, by);
                    assert!(error.is_reset(), "{error}");
                }
                RelayEnd::Finished => panic!("a reset is not a clean end"),
            }
        }
    });
}

#[test]
fn a_relay_that_is_dropped_resets_both_sides() {
    local(async {
        let mut r = relayed().await;
        r.client.write_all(b"x").await.unwrap();
        r.server.read_exact(&mut [0]).await.unwrap();
        r.relay.abort();
        for mut side in [r.client, r.server] {
            let error = side.read(&mut [0; 8]).await.expect_err("a RST, not a FIN");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn bulk_arrives_whole_both_ways_past_a_slow_reader() {
    const LENGTH: usize = 24 << 20;
    let pattern = |seed: usize| -> Vec<u8> {
        (0..LENGTH)
            .map(|i| ((i * 31 + seed) ^ (i >> 11)) as u8)
            .collect()
    };
    local(async {
        let r = relayed().await;
        let (up, down) = (pattern(1), pattern(2));
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
            exchange(r.client, up.clone(), 4096),
            exchange(r.server, down.clone(), 1 << 20),
        );
        assert!(at_server == up && at_client == down);
        assert!(matches!(r.relay.await.unwrap(), RelayEnd::Finished));
        assert_eq!(r.counters.from_client(), LENGTH as u64);
        assert_eq!(r.counters.from_server(), LENGTH as u64);
    });
}
