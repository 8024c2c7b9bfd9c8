//! A client that says something that is no request.

use super::*;
use crate::Role;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use prost::Message as _;
use tower::ServiceExt;

struct Everybody;

#[tonic::async_trait]
impl Authorizer for Everybody {
    async fn authorize(&self, _: &tonic::metadata::MetadataMap) -> Result<Caller, Denied> {
        Ok(Caller {
            service_account: "istio-system/ztunnel".into(),
            node: None,
            role: Role::Node,
        })
    }
}

/// The status with which a call ends on which the client says `frames`, and the server.
async fn hears(frames: impl Into<Bytes>) -> (String, Server) {
    let (_sets, receiver) = watch::channel(Arc::default());
    let (_trigger, drain) = drain::channel();
    let server = Server::new(receiver, Arc::new(Everybody), drain);
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .body(Full::new(frames.into()))
        .unwrap();
    let service = server.clone().into_service();
    let response = service.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers["grpc-status"].to_str().unwrap().to_owned();
    assert!(server.streams().is_empty());
    (status, server)
}

fn framed(request: &DeltaDiscoveryRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_call_with_a_status_and_is_counted() {
    let frames: [&[u8]; 2] = [b"\0\0\0\0\x03\xff\xff\xff", b"\0\x7f\xff\xff\xff"];
    for frame in frames {
        let (status, server) = hears(frame).await;
        assert_eq!(status, "3");
        let counters = server.counters();
        assert_eq!(counters.malformed.load(Ordering::Relaxed), 1);
        assert_eq!(counters.denied.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn whoever_asks_for_what_is_not_served_or_for_too_much_is_turned_away_and_counted() {
    let of = |type_url: &str| DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        ..Default::default()
    };
    let mut names = of(ambit_api::type_urls::ADDRESS);
    names.resource_names_subscribe = (0..=100_000).map(|n| n.to_string()).collect();
    for (request, code) in [(of("type.googleapis.com/nothing"), "7"), (names, "8")] {
        let (status, server) = hears(framed(&request)).await;
        assert_eq!(status, code);
        let counters = server.counters();
        assert_eq!(counters.denied.load(Ordering::Relaxed), 1);
        assert_eq!(counters.malformed.load(Ordering::Relaxed), 0);
    }
}
