//! Requests of somebody who means no good: each is refused by name and counted, and the next client
//! is served.

use crate::backend::{Backend, reply};
use crate::behaviours::to;
use crate::client::Client;
use crate::mesh::{Mesh, VIP, local};
use ambit_api::route as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A waypoint with one backend.
async fn mesh() -> (Mesh, Backend, Client) {
    let mut mesh = Mesh::start().await;
    let v1 = Backend::http(&mesh, "v1", pb::Protocol::Http1, |_, seen| {
        reply(200, seen.uri.clone())
    })
    .await;
    mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
    let client = mesh.client().await;
    (mesh, v1, client)
}

/// What the waypoint says to these bytes until it closes.
async fn says(client: &Client, bytes: &[u8]) -> String {
    let mut io = client.open(&format!("{VIP}:80")).await.unwrap();
    io.write_all(bytes).await.unwrap();
    io.flush().await.unwrap();
    let mut heard = Vec::new();
    // The end may also be a reset.
    let _ = io.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

/// `bytes` are answered with `status`, counted as `reason` and told in an access line; the backend
/// sees nothing of it; others are served.
async fn refused(bytes: &[u8], status: u16, reason: &str, details: &str) {
    let (mesh, v1, client) = mesh().await;
    let answer = says(&client, bytes).await;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    mesh.series(&["ambit_malformed_requests_total", reason, "} 1"])
        .await;
    let (code, flags) = (
        format!("response_code=\"{status}\""),
        "response_flags=\"DPE\"",
    );
    mesh.series(&["istio_requests_total", &code, flags, "} 1"])
        .await;
    mesh.line(&[&format!(" {status} DPE {details} ")]).await;
    assert_eq!(v1.count(), 0);
    assert_eq!(client.http1().await.get("/", &[]).await.status, 200);
}

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

#[test]
fn a_head_with_both_framings_is_refused_and_its_connection_ends() {
    let body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n";
    for framings in [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
    ] {
        local(|| async move {
            let [one, other] = framings;
            let mut bytes = head(&["POST / HTTP/1.1", "host: web", one, other]);
            bytes.extend(body.as_bytes());
            let details = "http1.content_length_and_chunked_not_allowed";
            refused(&bytes, 400, "framed-twice", details).await;
        });
    }
}

#[test]
fn lengths_that_differ_are_no_head() {
    local(|| async {
        let lengths = ["content-length: 4", "content-length: 5"];
        let bytes = head(&["POST / HTTP/1.1", "host: web", lengths[0], lengths[1]]);
        refused(&bytes, 400, "head", "http1.codec_error").await;
    });
}

#[test]
fn codings_that_do_not_end_in_chunked_are_no_framing() {
    local(|| async {
        let coding = "transfer-encoding: chunked, gzip";
        let bytes = head(&["POST / HTTP/1.1", "host: web", coding]);
        refused(&bytes, 400, "head", "http1.codec_error").await;
    });
}

#[test]
fn a_blank_before_the_colon_is_no_header() {
    local(|| async {
        let bytes = head(&["POST / HTTP/1.1", "host: web", "content-length : 5"]);
        refused(&bytes, 400, "head", "http1.codec_error").await;
    });
}

#[test]
fn a_chunk_without_a_length_is_the_clients_mistake() {
    local(|| async {
        let (mesh, v1, client) = mesh().await;
        let mut bytes = head(&["POST / HTTP/1.1", "host: web", "transfer-encoding: chunked"]);
        bytes.extend(b"zz\r\nabc\r\n0\r\n\r\n");
        let answer = says(&client, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        mesh.series(&["ambit_malformed_requests_total", "\"body\"", "} 1"])
            .await;
        mesh.line(&[" 400 DPE http1.codec_error "]).await;
        assert_eq!(client.http1().await.get("/", &[]).await.status, 200);
        assert_eq!(v1.last().method, "GET");
    });
}

#[test]
fn two_hosts_are_none() {
    local(|| async {
        let bytes = head(&[
            "GET / HTTP/1.1",
            "host: web",
            "host: other",
            "connection: close",
        ]);
        refused(&bytes, 400, "host", "invalid_host").await;
    });
}

#[test]
fn a_path_with_two_meanings_is_refused() {
    local(|| async {
        let line = "GET /%2%65%2%65/admin HTTP/1.1";
        let bytes = head(&[line, "host: web", "connection: close"]);
        refused(&bytes, 400, "path", "path_normalization_failed").await;
    });
}

#[test]
fn routes_and_backends_see_the_normalised_path() {
    local(|| async {
        let (_mesh, _v1, client) = mesh().await;
        let mut http1 = client.http1().await;
        for (given, expected) in [
            ("/a/../b?x=/../y", "/b?x=/../y"),
            ("/a/%2e%2e/%61dmin", "/admin"),
            ("/a\\b", "/a/b"),
            ("//a", "//a"),
        ] {
            assert_eq!(http1.get(given, &[]).await.body, expected, "{given}");
        }
    });
}

#[test]
fn no_spelling_of_a_path_gets_past_a_policy() {
    local(|| async {
        let (mut mesh, v1, client) = mesh().await;
        let denied = pb::AccessTest {
            attribute: pb::access_test::Attribute::Path.into(),
            values: vec!["/admin*".into()],
            ..Default::default()
        };
        let matches = vec![pb::AccessMatch {
            tests: vec![denied],
        }];
        let clauses = vec![pb::AccessClause { matches }];
        mesh.gateway(vec![pb::AccessPolicy {
            namespace: "shop".into(),
            name: "closed".into(),
            action: pb::access_policy::Action::Deny.into(),
            rules: vec![pb::AccessRule { index: 0, clauses }],
            dry_run: false,
        }]);
        let mut http1 = client.http1().await;
        for path in [
            "/admin",
            "/./admin",
            "/x/../admin/users",
            "/x/%2e%2E/admin",
            "/%61dmin",
            "/x\\..\\admin",
        ] {
            assert_eq!(http1.get(path, &[]).await.status, 403, "{path}");
        }
        assert_eq!(v1.count(), 0);
        assert_eq!(http1.get("/admi", &[]).await.status, 200);
    });
}

#[test]
fn who_stalls_handshakes_keeps_nobody_else_out() {
    local(|| async {
        let (mesh, _v1, client) = mesh().await;
        let mut stalled = Vec::new();
        for _ in 0..100 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
            stalled.push(socket.connect(mesh.address).await.unwrap());
        }
        let budget = [
            "ambit_connections_refused_total",
            "\"handshake-budget\"",
            "} 36",
        ];
        mesh.series(&budget).await;
        assert_eq!(client.http1().await.get("/", &[]).await.status, 200);
    });
}

#[test]
fn a_head_that_is_never_finished_is_given_up_by_name() {
    local(|| async {
        let bytes = b"GET / HTTP/1.1\r\nhost: web\r\nx-slow: ";
        refused(bytes, 408, "head-timeout", "request_header_timeout").await;
    });
}

#[test]
fn a_head_that_trickles_has_no_more_time() {
    local(|| async {
        let (mesh, _v1, client) = mesh().await;
        let mut io = client.open(&format!("{VIP}:80")).await.unwrap();
        let mut heard = Vec::new();
        io.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
        while heard.is_empty() {
            tokio::select! {
                _ = every.tick() => {
                    // Whoever has answered may listen no more.
                    let _ = io.write_all(b"a").await;
                    let _ = io.flush().await;
                }
                read = io.read_buf(&mut heard) => assert!(read.unwrap() > 0),
            }
        }
        assert!(heard.starts_with(b"HTTP/1.1 408 "), "{heard:?}");
        mesh.series(&["ambit_malformed_requests_total", "head-timeout", "} 1"])
            .await;
    });
}

#[test]
fn half_a_method_on_a_port_of_http_is_given_up_by_name() {
    local(|| async {
        let (mut mesh, _v1, client) = mesh().await;
        mesh.router(pb::Router {
            http: vec![to(&[("c0", 1)])],
            protocol: pb::Protocol::Http1.into(),
            ..crate::mesh::base_router(80)
        });
        assert_eq!(says(&client, b"GE").await, "");
        mesh.series(&["ambit_malformed_requests_total", "head-timeout", "} 1"])
            .await;
    });
}

#[test]
fn too_many_headers_and_too_long_ones_are_answered_with_431() {
    for many in [true, false] {
        local(|| async move {
            let mut lines = vec!["GET / HTTP/1.1".to_owned(), "host: web".into()];
            match many {
                true => lines.extend((0..600).map(|i| format!("x-{i}: 1"))),
                false => lines.push(format!("x-long: {}", "a".repeat(80 << 10))),
            }
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let details = "request_headers_too_large";
            refused(&head(&lines), 431, "headers-too-large", details).await;
        });
    }
}

#[test]
fn too_long_headers_in_http2_are_answered_with_431_and_others_on_the_connection_go_on() {
    local(|| async {
        let (mesh, v1, client) = mesh().await;
        let mut http2 = client.http2().await;
        let long = "a".repeat(80 << 10);
        let got = http2.get("/", &[("x-long", &long)]).await;
        assert_eq!(got.status, 431);
        mesh.series(&["ambit_malformed_requests_total", "headers-too-large", "} 1"])
            .await;
        assert_eq!(http2.get("/", &[]).await.status, 200);
        assert_eq!(v1.count(), 1);
    });
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The preface and empty settings.
fn opening() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

async fn frames_are_refused(bytes: &[u8]) {
    let (mesh, _v1, client) = mesh().await;
    let mut io = client.open(&format!("{VIP}:80")).await.unwrap();
    // The end may come before everything has been said.
    let _ = io.write_all(bytes).await;
    let _ = io.flush().await;
    let _ = io.read_to_end(&mut Vec::new()).await;
    mesh.series(&["ambit_malformed_requests_total", "\"http2\"", "} 1"])
        .await;
    mesh.line(&[" 0 DPE http2.violation.of.messaging.rule "])
        .await;
    assert_eq!(client.http2().await.get("/", &[]).await.status, 200);
}

#[test]
fn streams_reset_as_fast_as_they_are_opened_end_their_connection() {
    local(|| async {
        let mut bytes = opening();
        // GET, http, /, authority `web`: RFC 7541 indexed and literal fields.
        let block = [0x82, 0x86, 0x84, 0x41, 3, b'w', b'e', b'b'];
        for stream in (1..4000).step_by(2) {
            bytes.extend(frame(1, 0b101, stream, &block));
            bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        }
        frames_are_refused(&bytes).await;
    });
}

#[test]
fn headers_without_end_end_their_connection() {
    local(|| async {
        let mut bytes = opening();
        bytes.extend(frame(1, 0, 1, &[0x82, 0x86, 0x84]));
        let mut more = vec![0, 3, b'x', b'-', b'a', 100];
        more.extend([b'a'; 100]);
        for _ in 0..400 {
            bytes.extend(frame(9, 0, 1, &more.repeat(100)));
        }
        frames_are_refused(&bytes).await;
    });
}

#[test]
fn a_client_that_answers_no_ping_loses_its_connection() {
    local(|| async {
        let (mesh, _v1, client) = mesh().await;
        let mut io = client.open(&format!("{VIP}:80")).await.unwrap();
        io.write_all(&opening()).await.unwrap();
        io.flush().await.unwrap();
        let _ = io.read_to_end(&mut Vec::new()).await;
        mesh.series(&["ambit_malformed_requests_total", "\"ping\"", "} 1"])
            .await;
        mesh.line(&[" 0 DPE http2.ping_timeout "]).await;
        assert_eq!(client.http2().await.get("/", &[]).await.status, 200);
    });
}

#[test]
fn connections_without_requests_are_closed_and_nobody_is_to_blame() {
    local(|| async {
        let (mesh, _v1, client) = mesh().await;
        let (mut one, mut two) = (client.http1().await, client.http2().await);
        for _ in 0..2 {
            assert_eq!(one.get("/", &[]).await.status, 200);
            assert_eq!(two.get("/", &[]).await.status, 200);
        }
        tokio::join!(one.closed(), two.closed());
        assert!(!mesh.scrape().contains("ambit_malformed_requests_total{"));
        assert_eq!(client.http1().await.get("/", &[]).await.status, 200);
    });
}

#[test]
fn what_only_proxies_say_reaches_no_application() {
    local(|| async {
        let (_mesh, v1, client) = mesh().await;
        let sent = [
            ("x-istio-source", "waypoint"),
            ("x-envoy-peer-metadata", "a"),
        ];
        client.http1().await.get("/", &sent).await;
        let seen = v1.last();
        for (name, _) in sent {
            assert!(!seen.headers.contains_key(name), "{:?}", seen.headers);
        }
    });
}
