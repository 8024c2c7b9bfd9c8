//! Clients that say something that is no request, and one that is told without end.

use super::*;
use crate::Role;
use crate::resource_set::{Audience, Resource, ResourceChange};
use crate::wire::client_state::ClientState;
use ambit_api::discovery::Node;
use ambit_api::type_urls::{ADDRESS, AUTHORIZATION};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::ServiceExt;

const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

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
    let request = http::Request::post(PATH)
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
async fn compressed_messages_are_not_read_and_counted() {
    for (encoding, status, denied) in [("gzip", "12", 1), ("identity", "3", 1)] {
        let (_sets, receiver) = watch::channel(Arc::default());
        let (_trigger, drain) = drain::channel();
        let server = Server::new(receiver, Arc::new(Everybody), drain);
        let request = http::Request::post(PATH)
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding)
            .body(Full::new(Bytes::from_static(b"\0\0\0\0\x03\xff\xff\xff")))
            .unwrap();
        let response = server.clone().into_service().oneshot(request).await;
        let (head, body) = response.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let said = trailers
            .get("grpc-status")
            .or(head.headers.get("grpc-status"));
        assert_eq!(said.unwrap(), status, "{encoding}");
        let counters = server.counters();
        assert_eq!(
            counters.denied.load(Ordering::Relaxed),
            denied,
            "{encoding}"
        );
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

/// A set in which `name` of a type is another one than it was.
fn with(set: &ResourceSet, type_url: &str, name: &str, body: usize) -> Arc<ResourceSet> {
    let body = Bytes::from(body.to_string());
    let change = ResourceChange {
        type_url: type_url.into(),
        name: name.into(),
        resource: Some(Resource::new(body, vec![], Audience::Everyone)),
    };
    Arc::new(set.apply([change]))
}

/// The next message of a call.
async fn message<B>(body: &mut B, read: &mut BytesMut) -> DeltaDiscoveryResponse
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    loop {
        if let Some(prefix) = read.first_chunk::<5>() {
            let [_, length @ ..] = *prefix;
            let end = 5 + u32::from_be_bytes(length) as usize;
            if read.len() >= end {
                let whole = read.split_to(end);
                return DeltaDiscoveryResponse::decode(&whole[5..]).unwrap();
            }
        }
        let frame = body.frame().await.expect("the call goes on").unwrap();
        read.extend_from_slice(&frame.into_data().expect("no trailers"));
    }
}

#[tokio::test]
async fn a_type_that_changes_with_every_answer_does_not_hold_back_the_others() {
    const ROUNDS: usize = 20;
    let (sets, receiver) = watch::channel(Arc::default());
    let (_trigger, drain) = drain::channel();
    let service = Server::new(receiver, Arc::new(Everybody), drain).into_service();
    let mut client = ClientState::new(Node::default(), &[AUTHORIZATION, ADDRESS]);
    let (say, said) = mpsc::unbounded_channel();
    let speaks = |request: &DeltaDiscoveryRequest| {
        let frame = Frame::data(Bytes::from(framed(request)));
        say.send(Ok::<_, std::convert::Infallible>(frame)).unwrap();
    };
    client.start().iter().for_each(speaks);
    let request = http::Request::post(PATH)
        .header("content-type", "application/grpc")
        .body(StreamBody::new(UnboundedReceiverStream::new(said)))
        .unwrap();
    let mut body = service.oneshot(request).await.unwrap().into_body();
    let mut read = BytesMut::new();
    for round in 0..ROUNDS {
        let response = message(&mut body, &mut read).await;
        let (update, nonce) = client.on_response(response).unwrap();
        if update.resources.iter().any(|one| one.name == "late") {
            return;
        }
        let mut set = with(&sets.borrow(), AUTHORIZATION, "restless", round);
        if round == 2 {
            set = with(&set, ADDRESS, "late", round);
        }
        sets.send_replace(set);
        speaks(&client.answer(&update, nonce, &[]));
    }
    panic!("never told in {ROUNDS} answers");
}
