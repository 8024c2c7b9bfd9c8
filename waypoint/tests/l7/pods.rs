//! Pods addressed by their own address, and gRPC messages.

use crate::backend::{Backend, reply};
use crate::behaviours::to;
use crate::mesh::{Mesh, local};
use ambit_api::route as pb;
use ambit_hbone::io::{ConnectError, OpenError, StreamIo};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

async fn get(io: StreamIo) -> String {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::task::spawn_local(connection);
    let request = Request::builder().uri("/x").header("host", "any");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn a_pod_that_names_this_waypoint_is_reached_by_its_own_address_past_all_routes() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        let v2 = Backend::named(&mesh, "v2").await;
        mesh.waypoint_of = vec!["v1".into()];
        mesh.configure(&[&v1, &v2], vec![to(&[("c1", 1)])]);
        let client = mesh.client().await;
        let io = client.open(&v1.address.to_string()).await.unwrap();
        assert_eq!(get(io).await, "v1");
        assert_eq!(v2.count(), 0);
        mesh.series(&[
            "istio_requests_total",
            "destination_workload=\"v1\"",
            "destination_service=\"unknown\"",
            "destination_principal=\"spiffe://cluster.local/ns/shop/sa/v1\"",
            "} 1",
        ])
        .await;
        mesh.line(&["\"GET /x HTTP/1.1\" 200", &format!("pod:{}", v1.address)])
            .await;
        assert_eq!(v1.sources.borrow()[..], [Some("waypoint".to_owned())]);
    });
}

#[test]
fn a_pod_of_another_waypoint_or_of_none_is_not_served() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        for authority in [v1.address.to_string(), "127.9.9.9:80".to_owned()] {
            let Err(OpenError::Connect(ConnectError::Refused { status, reason })) =
                client.open(&authority).await.map(drop)
            else {
                panic!("{authority} was served");
            };
            assert_eq!(status, 503);
            assert_eq!(reason.as_deref(), Some("not-served"));
        }
        mesh.series(&["ambit_connections_refused_total", "\"not-served\"", "} 2"])
            .await;
    });
}

#[test]
fn bytes_to_a_pod_are_carried() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    local(|| async {
        let mut mesh = Mesh::start().await;
        let echo = Backend::echo(&mesh, "echo").await;
        mesh.waypoint_of = vec!["echo".into()];
        mesh.configure(&[&echo], vec![]);
        let client = mesh.client().await;
        let mut io = client.open(&echo.address.to_string()).await.unwrap();
        io.write_all(b"\x00\x01bytes").await.unwrap();
        io.flush().await.unwrap();
        let mut heard = [0; 11];
        io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"echo\x00\x01bytes");
    });
}

#[test]
fn messages_of_grpc_calls_are_counted_both_ways() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let answer = "\0\0\0\0\x02ok".repeat(3);
        let v1 = Backend::http(&mesh, "v1", pb::Protocol::Grpc, move |_, _| {
            reply(200, answer.clone())
        })
        .await;
        mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        let mut http2 = client.http2().await;
        let body = "\0\0\0\0\x01a\0\0\0\0\0";
        http2.post("/shop.Web/Do", "application/grpc", body).await;
        let grpc = "request_protocol=\"grpc\"";
        mesh.series(&["istio_request_messages_total", grpc, "} 2"])
            .await;
        mesh.series(&["istio_response_messages_total", grpc, "} 3"])
            .await;
    });
}
