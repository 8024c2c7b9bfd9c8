//! Which tunnel a stream gets.

use super::*;

#[test]
fn streams_of_one_key_share_a_tunnel_and_other_keys_do_not() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        let first = world.open(&pool, "10.0.0.2:80").await.unwrap();
        let second = world.open(&pool, "10.0.0.2:81").await.unwrap();
        assert_eq!(world.dials.get(), 1);
        assert_eq!(pool.tunnels()[0].streams, 2);
        let mut keys = [world.key(), world.key(), world.key()];
        keys[0].from = 2;
        keys[1].to = "10.0.0.3:15008".parse().unwrap();
        keys[2].expected = [id("server"), id("zzz")].into();
        let open = request("10.0.0.2:80");
        for (n, key) in keys.iter().enumerate() {
            let opened = pool.open(key, &world.client, || world.dial(), &open).await;
            echoes(opened.unwrap()).await;
            assert_eq!(world.dials.get(), n + 2);
        }
        echoes(first).await;
        echoes(second).await;
        let stats = pool.stats();
        assert_eq!((stats.dials, stats.streams, stats.reused), (4, 5, 1));
        pool.forget(1);
        assert_eq!(pool.tunnels().len(), 1);
    });
}

#[test]
fn streams_beyond_the_peers_limit_get_another_tunnel_and_places_are_used_again() {
    worker(false, async {
        let mut world = World::new().await;
        world.settings.server_max_streams = 2;
        let pool = world.pool();
        let opens = (0..5).map(|_| world.open(&pool, "10.0.0.2:80"));
        let opened = futures::future::join_all(opens).await;
        let mut opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        assert_eq!(world.dials.get(), 3);
        assert!(pool.tunnels().iter().all(|t| t.streams <= 2));
        echoes(opened.pop().unwrap()).await;
        echoes(opened.pop().unwrap()).await;
        let again = world.open(&pool, "10.0.0.2:80").await.unwrap();
        assert_eq!(world.dials.get(), 3);
        for stream in opened.into_iter().chain([again]) {
            echoes(stream).await;
        }
    });
}

#[test]
fn six_waiters_for_a_dead_peer_fail_together_with_one_dial() {
    worker(true, async {
        let world = World::new().await;
        let pool = world.pool();
        let key = world.key();
        let open = request("10.0.0.2:80");
        let dials = Cell::new(0);
        let dead = || {
            dials.set(dials.get() + 1);
            async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Err::<DuplexStream, _>(std::io::Error::from(std::io::ErrorKind::HostUnreachable))
            }
        };
        let start = tokio::time::Instant::now();
        let opens = (0..6).map(|_| async {
            let error = pool
                .open(&key, &world.client, &dead, &open)
                .await
                .unwrap_err();
            (error, start.elapsed())
        });
        let results = futures::future::join_all(opens).await;
        assert_eq!(dials.get(), 1);
        let mut shared = Vec::new();
        for (error, after) in results {
            assert!(after < Duration::from_secs(4), "{after:?}");
            let OpenError::Dial(error) = error else {
                panic!("{error:?}");
            };
            assert!(matches!(*error, DialError::Connect(_)));
            shared.push(error);
        }
        assert!(shared.iter().all(|e| Arc::ptr_eq(e, &shared[0])));
        // The next one tries again.
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(pool.stats().dial_failures, 1);
    });
}

#[test]
fn whoever_gives_up_leaves_the_dial_to_the_others() {
    worker(true, async {
        let world = World::new().await;
        let pool = world.pool();
        let first = world.open(&pool, "10.0.0.2:80");
        let second = world.open(&pool, "10.0.0.2:80");
        let mut first = Box::pin(first);
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        echoes(second.await.unwrap()).await;
        assert_eq!(world.dials.get(), 1);
    });
}

#[test]
fn after_goaway_streams_go_on_and_new_ones_get_another_tunnel() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        let old = world.open(&pool, "10.0.0.2:80").await.unwrap();
        let life = old.stream.life().expect("it was opened here");
        assert!(life.takes_streams());
        world.drain.send_replace(true);
        // The drained server still serves what is open; its GOAWAY is on the way with the echo.
        let mut io = old.stream.into_io();
        for _ in 0..3 {
            io.write_all(b"ping").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
        }
        assert!(!life.takes_streams(), "who keeps streams is told");
        world.drain.send_replace(false);
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 2);
        io.write_all(b"last").await.unwrap();
        io.shutdown().await.unwrap();
        let mut got = Vec::new();
        io.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
    });
}

#[test]
fn a_tunnel_that_died_while_idle_costs_a_new_dial_and_no_error() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        // The server and the path to it go away; the client has not been told yet.
        world.tasks.borrow_mut().abort_all();
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 2);
    });
}

#[test]
fn idle_tunnels_are_let_go_and_busy_ones_are_not() {
    worker(true, async {
        let world = World::new().await;
        let pool = world.pool();
        let busy = world.open(&pool, "10.0.0.2:80").await.unwrap();
        let mut other = world.key();
        other.from = 2;
        let open = request("10.0.0.2:80");
        let idle = pool
            .open(&other, &world.client, || world.dial(), &open)
            .await;
        echoes(idle.unwrap()).await;
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(pool.tunnels().len(), 2, "not yet");
        let start = tokio::time::Instant::now();
        while pool.stats().idle_releases == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(start.elapsed() < Duration::from_secs(300));
        }
        let left = pool.tunnels();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].key.from, left[0].streams), (1, 1));
        echoes(busy).await;
    });
}

#[test]
fn a_new_certificate_gets_a_new_tunnel_while_old_streams_go_on() {
    worker(false, async {
        let mut world = World::new().await;
        let pool = world.pool();
        let old = world.open(&pool, "10.0.0.2:80").await.unwrap();
        world.client = Arc::new(world.ca.svid(&id("client"), HOUR).await.unwrap());
        echoes(world.open(&pool, "10.0.0.2:80").await.unwrap()).await;
        assert_eq!(world.dials.get(), 2);
        assert_eq!(pool.tunnels().len(), 1, "the old one belongs to its stream");
        echoes(old).await;
    });
}

#[test]
fn a_pool_that_is_closed_has_sent_everything_and_waits_for_streams_and_peers() {
    worker(false, async {
        let world = World::new().await;
        let pool = world.pool();
        pool.close().await;
        let opened = world.open(&pool, "10.0.0.2:80").await.unwrap();
        let mut other = world.key();
        other.from = 2;
        let open = request("10.0.0.2:80");
        let idle = pool.open(&other, &world.client, || world.dial(), &open);
        drop(idle.await.unwrap());
        let mut close = Box::pin(pool.close());
        assert!(futures::poll!(&mut close).is_pending());
        echoes(opened).await;
        close.await;
        assert!(pool.tunnels().is_empty());
        // Both echo servers and both links saw an end of their connection, none was cut.
        let mut tasks = std::mem::take(&mut *world.tasks.borrow_mut());
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}
