//! A client that says something that is no request.

use super::*;
use crate::Role;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
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

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_call_with_a_status_and_is_counted() {
    let frames: [&[u8]; 2] = [b"\0\0\0\0\x03\xff\xff\xff", b"\0\x7f\xff\xff\xff"];
    for frame in frames {
        let (_sets, receiver) = watch::channel(Arc::default());
        let (_trigger, drain) = drain::channel();
        let server = Server::new(receiver, Arc::new(Everybody), drain);
        let path =
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from_static(frame)))
            .unwrap();
        let response = server
            .clone()
            .into_service()
            .oneshot(request)
            .await
            .unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        assert_eq!(trailers["grpc-status"], "3", "{trailers:?}");
        let counters = server.counters();
        assert_eq!(counters.malformed.load(Ordering::Relaxed), 1);
        assert_eq!(counters.denied.load(Ordering::Relaxed), 1);
        assert!(server.streams().is_empty());
    }
}
