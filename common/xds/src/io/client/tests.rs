//! A server that says something that is no response.

use super::*;
use http::Response;
use http_body_util::Full;
use prost::Message as _;
use std::convert::Infallible;

struct Nothing;

impl Handler for Nothing {
    fn apply(&mut self, _update: &Update) -> Vec<Rejection> {
        panic!("nothing can be applied")
    }
}

/// How a stream ends on which the server says `frames`.
async fn hears(frames: impl Into<Bytes>, counters: &ClientCounters) -> StreamError {
    let frames = frames.into();
    let service = tower::service_fn(move |_: http::Request<Body>| {
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.body(Full::new(frames.clone()));
        async { Ok::<_, Infallible>(response.expect("a constant response")) }
    });
    let config = ClientConfig {
        address: "https://localhost:15012".into(),
        root: RootCert::Inline(String::new()),
        server_name: None,
        token_file: None,
        headers: vec![],
        node: Node::default(),
        types: vec![ambit_api::type_urls::ADDRESS],
    };
    let mut state = ClientState::new(config.node.clone(), &config.types);
    let client = AggregatedDiscoveryServiceClient::new(service).max_decoding_message_size(1 << 20);
    let mut handler = Nothing;
    let context = (&config, counters);
    let ended = converse(client, context, &mut state, &mut handler);
    ended.await.expect_err("the stream cannot go on")
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_stream_by_name() {
    let cases: [(&[u8], &str); 4] = [
        (b"\0\0\0\0\x03\xff\xff\xff", "protobuf"),
        (b"\x07\0\0\0\x01a", "compression flag"),
        (b"\x01\0\0\0\x01a", "compress"),
        (b"\0\x7f\xff\xff\xff", "too large"),
    ];
    for (frame, word) in cases {
        let error = hears(frame, &ClientCounters::default()).await;
        assert!(matches!(error, StreamError::Malformed(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("a message of the xds server cannot be read"));
        assert!(text.to_lowercase().contains(word), "{text}");
    }
}

#[tokio::test]
async fn types_that_nobody_asked_for_are_counted_under_one_name() {
    let said = |type_url: &str| {
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            ..Default::default()
        };
        let message = response.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short message");
        [&[0][..], &length.to_be_bytes(), &message].concat()
    };
    let counters = ClientCounters::default();
    let garbage = [b"\0\0\0\0\x01\xff".to_vec()];
    let frames = [said("a"), said("b"), said("")].into_iter().chain(garbage);
    hears(frames.collect::<Vec<_>>().concat(), &counters).await;
    let messages = counters.messages.lock().expect("nobody panics").clone();
    assert_eq!(messages, BTreeMap::from([(UNASKED.to_owned(), 3)]));
}

#[test]
fn a_connection_that_breaks_is_no_message() {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let status = tonic::Status::from_error(Box::new(broken));
    assert!(matches!(StreamError::broke(status), StreamError::Stream(_)));
    let refused = tonic::Status::permission_denied("no");
    assert!(matches!(
        StreamError::broke(refused),
        StreamError::Stream(_)
    ));
}
