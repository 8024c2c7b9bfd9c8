//! Plaintext listeners: HTTP from outside the mesh.

use crate::authorization::{policy, test};
use crate::backend::{Backend, reply};
use crate::behaviours::to;
use crate::client::{plain_http1, plain_http2};
use crate::mesh::{Mesh, local};
use ambit_api::route as pb;
use pb::access_policy::Action;
use pb::access_test::Attribute;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A gateway with one listener; `v1` serves every host but `*.shop.example`, which is `v2`'s.
async fn gateway(policies: Vec<pb::AccessPolicy>) -> (Mesh, SocketAddr, [Backend; 2]) {
    let mut mesh = Mesh::start().await;
    let http = pb::Protocol::Http1;
    let v1 = Backend::http(&mesh, "v1", http, |_, _| reply(200, "v1".to_owned())).await;
    let v2 = Backend::http(&mesh, "v2", http, |_, _| reply(200, "v2".to_owned())).await;
    mesh.configure(&[&v1, &v2], vec![]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    host(&mut mesh, "*", address.port(), "c0");
    host(&mut mesh, "*.shop.example", address.port(), "c1");
    mesh.listeners = vec![address.port().into()];
    mesh.gateway(policies);
    open(address).await;
    (mesh, address, [v1, v2])
}

fn host(mesh: &mut Mesh, hostname: &str, port: u16, cluster: &str) {
    mesh.router(pb::Router {
        gateway: "shop/waypoint".into(),
        hostname: hostname.into(),
        port: port.into(),
        http: vec![to(&[(cluster, 1)])],
        ..Default::default()
    });
}

/// Waits until it is listened on.
async fn open(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_host_chooses_in_either_version_and_the_server_learns_who_asks() {
    local(|| async {
        let (mesh, address, [v1, _]) = gateway(vec![]).await;
        let mut one = plain_http1(address).await;
        let forged = [
            (
                "x-forwarded-client-cert",
                "URI=spiffe://cluster.local/ns/shop/sa/client",
            ),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(one.get("/", &forged).await.body, "v1");
        assert_eq!(
            one.get("/", &[("host", "a.b.SHOP.example:80")]).await.body,
            "v2"
        );
        assert_eq!(one.get("/", &[("host", "shop.example")]).await.body, "v1");
        let mut two = plain_http2(address).await;
        assert_eq!(two.get("/", &[]).await.body, "v1");
        let seen = v1.seen.borrow()[0].headers.clone();
        assert!(!seen.contains_key("x-forwarded-client-cert"), "{seen:?}");
        assert_eq!(seen["x-forwarded-for"], "192.0.2.1,127.0.0.1");
        assert_eq!(v1.sources.borrow()[0].as_deref(), Some("gateway"));
        let principal = "source_principal=\"spiffe://cluster.local/ns/shop/sa/waypoint\"";
        mesh.series(&[
            "istio_requests_total",
            "reporter=\"source\"",
            principal,
            "destination_service_name=\"web\"",
            "connection_security_policy=\"mutual_tls\"",
        ])
        .await;
    });
}

#[test]
fn policies_of_the_gateway_know_the_address_and_no_principal() {
    local(|| async {
        let anybody = policy(
            "anybody",
            Action::Allow,
            vec![test(Attribute::Principal, "", &["*"])],
        );
        let (mut mesh, address, [v1, _]) = gateway(vec![anybody]).await;
        let got = plain_http1(address).await.get("/", &[]).await;
        assert_eq!(
            (got.status.as_u16(), &*got.body),
            (403, "RBAC: access denied")
        );
        assert_eq!(v1.count(), 0);
        let here = test(Attribute::SourceIp, "", &["127.0.0.1/32"]);
        mesh.gateway(vec![policy("here", Action::Allow, vec![here])]);
        assert_eq!(plain_http1(address).await.get("/", &[]).await.status, 200);
        let elsewhere = test(Attribute::SourceIp, "", &["192.0.2.0/24"]);
        mesh.gateway(vec![policy("elsewhere", Action::Allow, vec![elsewhere])]);
        let unknown = [("host", "nobody.example")];
        assert_eq!(
            plain_http1(address).await.get("/", &unknown).await.status,
            403
        );
        // Without the gateway's own policies nothing is let in.
        mesh.forget_gateway();
        assert_eq!(plain_http1(address).await.get("/", &[]).await.status, 503);
    });
}

#[test]
fn a_host_nobody_serves_is_404_and_what_is_no_http_is_refused() {
    local(|| async {
        let (mut mesh, address, [v1, _]) = gateway(vec![]).await;
        mesh.feed(ambit_api::type_urls::ROUTER, vec![]);
        let bare = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        for (bytes, status) in [
            (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
            (b"GET / HTTP/1.1\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
            (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", "403"),
            (b"GET / HTTP/1.1\r\nhos", "408"),
        ] {
            let mut io = TcpStream::connect(bare).await.unwrap();
            io.write_all(bytes).await.unwrap();
            let mut heard = vec![0; 12];
            io.read_exact(&mut heard).await.unwrap();
            let heard = String::from_utf8(heard).unwrap();
            assert_eq!(heard, format!("HTTP/1.1 {status}"), "{bytes:?}");
        }
        assert_eq!(v1.count(), 0);
        mesh.listeners.clear();
        mesh.gateway(vec![]);
        while TcpStream::connect(bare).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_plaintext_connection_may_be_upgraded_and_ends_with_the_drain() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let up = Backend::upgrading(&mesh, "up").await;
        mesh.configure(&[&up], vec![]);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        host(&mut mesh, "*", address.port(), "c0");
        mesh.listeners = vec![address.port().into()];
        mesh.gateway(vec![]);
        open(address).await;
        let mut io = TcpStream::connect(address).await.unwrap();
        let ask =
            b"GET /chat HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        io.write_all(ask).await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(io.read_u8().await.unwrap());
        }
        assert!(heard.starts_with(b"HTTP/1.1 101"), "{heard:?}");
        io.write_all(b"ping").await.unwrap();
        let mut echoed = [0; 4];
        io.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"ping");
        let mut idle = plain_http1(address).await;
        mesh.trigger.start(std::time::Duration::from_secs(30));
        idle.closed().await;
    });
}
