//! Refusals, resets, stalls.

use super::*;
use ambit_identity::tls::TlsError;
use std::task::Poll;

#[test]
fn a_refusal_carries_status_and_reason() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        match world.open(&pool, "10.0.0.2:1").await.unwrap_err() {
            OpenError::Connect(ConnectError::Refused { status, reason }) => {
                assert_eq!(status, StatusCode::UNAUTHORIZED);
                assert_eq!(reason.as_deref(), Some("deny"));
            }
            other => panic!("{other:?}"),
        }
        let reset = world.open(&pool, "10.0.0.2:2").await.unwrap_err();
        assert!(
            matches!(reset, OpenError::Connect(ConnectError::Reset { .. })),
            "{reset:?}"
        );
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 1, "the tunnel is still good");
    });
}

#[test]
fn a_stream_cut_short_is_a_reset_and_not_an_end() {
    worker(false, async {
        let world = World::new().await;
        let opened = world.open(&world.pool(), "10.0.0.2:4").await.unwrap();
        let mut io = opened.stream.into_io();
        io.write_all(b"full").await.unwrap();
        let mut got = Vec::new();
        let error = io.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stream_dropped_by_the_client_is_a_reset_at_the_server() {
    worker(false, async {
        let world = World::new().await;
        let (a, b) = duplex(256 * 1024);
        let expected = world.expected();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let (svid, settings) = (world.server.clone(), world.settings.clone());
        let handler = move |incoming: Incoming| {
            let tell = tell.take().unwrap();
            async move {
                let mut io = incoming.accept(None).unwrap().into_io();
                let result = io.read_to_end(&mut Vec::new()).await;
                tell.send(result).unwrap();
            }
        };
        let mut serve = JoinSet::new();
        serve.spawn_local(async move {
            let tunnel = accept(b, &svid, &settings).await.unwrap();
            let _ = tunnel.serve(std::future::pending(), handler).await;
        });
        let tunnel = connect(a, &world.client, &expected, &world.settings).await;
        let tunnel = tunnel.unwrap();
        let opened = tunnel.open(&request("10.0.0.2:80")).await.unwrap();
        assert_eq!(tunnel.streams(), 1);
        drop(opened);
        assert_eq!(tunnel.streams(), 0);
        let error = told.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_silent_peer_costs_no_more_than_each_stage_allows() {
    worker(true, async {
        let world = World::new().await;
        let expected = world.expected();
        let (io, _silent) = duplex(64 * 1024);
        let error = connect(io, &world.client, &expected, &world.settings).await;
        assert!(
            matches!(
                error,
                Err(DialError::Timeout {
                    stage: Stage::Tls,
                    ..
                })
            ),
            "{error:?}"
        );

        let (io, far) = duplex(64 * 1024);
        let far = ambit_identity::tls::accept(far, &world.server, HOUR);
        let near = connect(io, &world.client, &expected, &world.settings);
        let (error, _no_h2) = tokio::join!(near, far);
        assert!(
            matches!(
                error,
                Err(DialError::Timeout {
                    stage: Stage::H2,
                    ..
                })
            ),
            "{error:?}"
        );

        let (io, far) = duplex(64 * 1024);
        let far = ambit_identity::tls::connect(far, &world.client, &expected, HOUR);
        let near = accept(io, &world.server, &world.settings);
        let (error, _no_h2) = tokio::join!(near, far);
        assert!(matches!(error, Err(AcceptError::Timeout { .. })));

        let pool = world.pool();
        let stuck = || std::future::pending::<std::io::Result<DuplexStream>>();
        let open = request("10.0.0.2:80");
        let error = pool.open(&world.key(), &world.client, stuck, &open).await;
        match error.unwrap_err() {
            OpenError::Dial(error) => assert!(
                matches!(
                    *error,
                    DialError::Timeout {
                        stage: Stage::Connect,
                        ..
                    }
                ),
                "{error:?}"
            ),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_unanswered_connect_ends_and_its_tunnel_gets_no_more_streams() {
    worker(true, async {
        let world = World::new().await;
        let pool = world.pool();
        let error = world.open(&pool, "10.0.0.2:3").await.unwrap_err();
        assert!(
            matches!(error, OpenError::Connect(ConnectError::Timeout { .. })),
            "{error:?}"
        );
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 2);
    });
}

#[test]
fn a_peer_that_vanishes_is_noticed_by_ping_and_its_streams_break() {
    worker(true, async {
        let world = World::new().await;
        let pool = world.pool();
        let opened = world.open(&pool, "10.0.0.2:80").await.unwrap();
        let start = tokio::time::Instant::now();
        world.cut.send_replace(true);
        let mut io = opened.stream.into_io();
        let error = io.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        let bound = world.settings.ping_interval + world.settings.ping_timeout;
        assert!(start.elapsed() <= bound + Duration::from_secs(1));
        world.cut.send_replace(false);
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 2);
    });
}

#[test]
fn identities_are_refused_on_both_sides() {
    worker(false, async {
        let mut world = World::new().await;
        let pool = world.pool();
        let mut key = world.key();
        key.expected = [id("somebody-else")].into();
        let open = request("10.0.0.2:80");
        let error = pool.open(&key, &world.client, || world.dial(), &open).await;
        match error.unwrap_err() {
            OpenError::Dial(e) => {
                assert!(matches!(&*e, DialError::Tls(TlsError::Peer(_))), "{e:?}");
            }
            other => panic!("{other:?}"),
        }

        let foreign = SpiffeId::new("elsewhere", "default", "client");
        world.client = Arc::new(world.ca.svid(&foreign, HOUR).await.unwrap());
        match world.open(&pool, "10.0.0.2:80").await.unwrap_err() {
            OpenError::Dial(e) => {
                assert!(
                    matches!(&*e, DialError::Tls(TlsError::Refused { .. })),
                    "{e:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_peer_that_speaks_garbage_after_tls_is_an_h2_failure() {
    worker(false, async {
        let world = World::new().await;
        let (io, far) = duplex(64 * 1024);
        let garbage = async {
            let mut far = ambit_identity::tls::accept(far, &world.server, HOUR)
                .await
                .unwrap()
                .stream;
            far.write_all(&[b'x'; 256]).await.unwrap();
            far.flush().await.unwrap();
            far
        };
        let expected = world.expected();
        let near = connect(io, &world.client, &expected, &world.settings);
        let (error, _far) = tokio::join!(near, garbage);
        assert!(matches!(error, Err(DialError::H2(_))), "{error:?}");
    });
}

#[test]
fn a_server_that_is_dropped_resets_what_it_serves() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        let opened = world.open(&pool, "10.0.0.2:80").await.unwrap();
        world.tasks.borrow_mut().abort_all();
        let mut io = opened.stream.into_io();
        let mut got = [0; 8];
        let read = std::future::poll_fn(|cx| {
            let mut buf = tokio::io::ReadBuf::new(&mut got);
            match tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut io), cx, &mut buf) {
                Poll::Ready(result) => Poll::Ready(result.map(|()| buf.filled().len())),
                Poll::Pending => Poll::Pending,
            }
        });
        read.await.expect_err("an error, not an end");
    });
}
