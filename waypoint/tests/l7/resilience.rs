//! What happens when things go wrong: retries, timeouts, faults, drains.

use crate::backend::{Backend, reply, silence};
use crate::behaviours::to;
use crate::mesh::{Mesh, VIP, local};
use ambit_api::route as pb;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn retry(attempts: u32, on: pb::RetryOn) -> Option<pb::Retry> {
    Some(pb::Retry {
        attempts,
        on: vec![on.into()],
        backoff_base_ms: 1,
        ..Default::default()
    })
}

#[test]
fn a_503_is_tried_again_with_the_same_body() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let flaky = Backend::http(&mesh, "flaky", pb::Protocol::Auto, |n, _| {
            reply(if n < 2 { 503 } else { 200 }, format!("try {n}"))
        })
        .await;
        mesh.configure(
            &[&flaky],
            vec![pb::HttpRoute {
                retry: retry(2, pb::RetryOn::GatewayError),
                ..to(&[("c0", 1)])
            }],
        );
        let client = mesh.client().await;
        let got = client.http1().await.send("POST", "/", &[], "body").await;
        assert_eq!((got.status.as_u16(), got.body.as_str()), (200, "try 2"));
        assert!(flaky.seen.borrow().iter().all(|s| &s.body[..] == b"body"));
        mesh.line(&["\"POST / HTTP/1.1\" 200 - via_upstream"]).await;
    });
}

#[test]
fn retries_end_and_go_to_another_endpoint_first() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let bad = Backend::http(&mesh, "bad", pb::Protocol::Auto, |_, _| {
            reply(503, "bad".into())
        })
        .await;
        let good = Backend::named(&mesh, "good").await;
        let policy = |attempts| {
            vec![pb::HttpRoute {
                retry: retry(attempts, pb::RetryOn::FiveXx),
                ..to(&[("c0", 1)])
            }]
        };
        mesh.configure_clusters(&[vec![&bad, &good]], policy(1));
        let client = mesh.client().await;
        let mut http = client.http1().await;
        for _ in 0..20 {
            assert_eq!(http.get("/", &[]).await.body, "good");
        }
        assert!(bad.count() > 0, "some first tries went there");
        mesh.configure_clusters(&[vec![&bad]], policy(2));
        let before = bad.count();
        let got = http.get("/", &[]).await;
        assert_eq!((got.status.as_u16(), got.body.as_str()), (503, "bad"));
        assert_eq!(bad.count() - before, 3);
        mesh.line(&["503 URX via_upstream"]).await;
    });
}

#[test]
fn time_ends_with_504() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let slow = Backend::http(&mesh, "slow", pb::Protocol::Http1, |_, _| silence()).await;
        mesh.configure(
            &[&slow],
            vec![pb::HttpRoute {
                timeout_ms: 100,
                ..to(&[("c0", 1)])
            }],
        );
        let client = mesh.client().await;
        let got = client.http1().await.get("/", &[]).await;
        assert_eq!(
            (got.status.as_u16(), got.body.as_str()),
            (504, "upstream request timeout")
        );
        mesh.line(&["504 UT response_timeout"]).await;
        let got = client
            .http2()
            .await
            .get("/", &[("content-type", "application/grpc")])
            .await;
        assert_eq!(
            (got.status.as_u16(), &got.headers["grpc-status"]),
            (200, &http::HeaderValue::from_static("14"))
        );
        mesh.series(&[
            "istio_requests_total",
            "request_protocol=\"grpc\"",
            "grpc_response_status=\"14\"",
            "response_flags=\"UT\"",
        ])
        .await;
    });
}

#[test]
fn faults_delay_and_abort() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        let abort = pb::fault::Abort {
            status: Some(pb::fault::abort::Status::Http(555)),
            ppm: 1_000_000,
        };
        let delay = pb::fault::Delay {
            fixed_ms: 50,
            ppm: 1_000_000,
        };
        let fault = |delay, abort| {
            vec![pb::HttpRoute {
                fault: Some(pb::Fault { delay, abort }),
                ..to(&[("c0", 1)])
            }]
        };
        mesh.configure(&[&v1], fault(Some(delay), Some(abort)));
        let client = mesh.client().await;
        let mut http = client.http1().await;
        let got = http.get("/", &[]).await;
        assert_eq!(
            (got.status.as_u16(), got.body.as_str()),
            (555, "fault filter abort")
        );
        assert_eq!(v1.count(), 0);
        mesh.line(&["555 DI,FI fault_filter_abort"]).await;
        mesh.configure(&[&v1], fault(Some(delay), None));
        assert_eq!(http.get("/", &[]).await.body, "v1");
        mesh.line(&["200 DI via_upstream"]).await;
    });
}

#[test]
fn no_endpoint_and_no_connection_are_told_apart() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let gone = Backend {
            name: "gone".into(),
            address: "127.77.77.77:8080".parse().unwrap(),
            tunnel: true,
            protocol: pb::Protocol::Auto,
            seen: Default::default(),
            forwarded: Default::default(),
            sources: Default::default(),
        };
        mesh.configure_clusters(&[vec![]], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        let mut http = client.http1().await;
        let got = http.get("/", &[]).await;
        assert_eq!(
            (got.status.as_u16(), got.body.as_str()),
            (503, "no healthy upstream")
        );
        mesh.line(&["503 UH no_healthy_upstream"]).await;
        mesh.configure(&[&gone], vec![to(&[("c0", 1)])]);
        let got = http.get("/", &[]).await;
        assert_eq!(got.status.as_u16(), 503);
        assert!(
            got.body.starts_with("upstream connect error"),
            "{}",
            got.body
        );
        mesh.line(&["503 UF upstream_reset_before_response_started{connection_failure}"])
            .await;
        mesh.configure(&[], vec![to(&[("c9", 1)])]);
        assert_eq!(http.get("/", &[]).await.status.as_u16(), 503);
        mesh.line(&["503 NC cluster_not_found"]).await;
        mesh.configure(&[], vec![to(&[("c0", 0)])]);
        assert_eq!(http.get("/", &[]).await.status.as_u16(), 500);
    });
}

#[test]
fn a_backend_with_another_identity_is_not_spoken_to() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let mut impostor = Backend::named(&mesh, "impostor").await;
        impostor.name = "victim".into();
        mesh.configure(&[&impostor], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        assert_eq!(
            client.http1().await.get("/", &[]).await.status.as_u16(),
            503
        );
        assert_eq!(impostor.count(), 0);
        mesh.line(&["503 UF"]).await;
    });
}

#[test]
fn a_websocket_passes_both_ways() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let echo = Backend::upgrading(&mesh, "chat").await;
        mesh.configure(&[&echo], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        let mut io = client.open(&format!("{VIP}:80")).await.unwrap();
        let head = b"GET /chat HTTP/1.1\r\nhost: web\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
        io.write_all(head).await.unwrap();
        let mut got = vec![0; 1024];
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            let n = io.read(&mut got).await.unwrap();
            assert!(n > 0, "{text}");
            text.push_str(std::str::from_utf8(&got[..n]).unwrap());
        }
        assert!(
            text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{text}"
        );
        assert!(text.contains("upgrade: websocket\r\n"), "{text}");
        io.write_all(b"ping").await.unwrap();
        while !text.ends_with("ping") {
            let n = io.read(&mut got).await.unwrap();
            assert!(n > 0, "{text}");
            text.push_str(std::str::from_utf8(&got[..n]).unwrap());
        }
        io.shutdown().await.unwrap();
        let mut rest = String::new();
        io.read_to_string(&mut rest).await.unwrap();
        mesh.line(&["\"GET /chat HTTP/1.1\" 101 - via_upstream"])
            .await;
    });
}

#[test]
fn a_drain_lets_the_request_in_progress_end_and_takes_no_more() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let (go, wait) = tokio::sync::watch::channel(false);
        let held = Backend::http(&mesh, "held", pb::Protocol::Auto, move |_, _| {
            let mut wait = wait.clone();
            Box::pin(async move {
                wait.wait_for(|go| *go).await.unwrap();
                reply(200, "done".into()).await
            })
        })
        .await;
        mesh.configure(&[&held], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        let mut http = client.http1().await;
        let request = tokio::task::spawn_local(async move { http.get("/", &[]).await });
        held.wait_for(1).await;
        mesh.trigger.start(Duration::from_secs(30));
        while tokio::net::TcpStream::connect(mesh.address).await.is_ok() {}
        go.send(true).unwrap();
        let got = request.await.unwrap();
        assert_eq!(got.body, "done");
        assert_eq!(got.headers["connection"], "close");
        mesh.join();
    });
}
