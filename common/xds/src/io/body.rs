//! The server's half of a stream as bytes: each response is encoded piece by piece, as the network takes it.
//! In: responses on a queue. Out: an HTTP body of gRPC frames, a status at its end.
//! The gRPC library encodes a message whole into a buffer that it keeps as long as the stream lives; first
//! answers are megabytes, and every node has a stream.
//! Spec: gRPC over HTTP/2, length-prefixed messages; fields of a protobuf message may come in any parts.

use super::server::{MAX_MESSAGE, ServerCounters};
use ambit_api::discovery::{DeltaDiscoveryResponse, Resource};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::{Code, Status};
use tracing::warn;

/// Bytes of one piece, about.
const PIECE: usize = 32 * 1024;
/// gRPC: a flag and four bytes of length.
const PREFIX: usize = 5;

/// Responses of one stream.
pub(super) type Queue = mpsc::Receiver<Result<DeltaDiscoveryResponse, Status>>;

/// Carries the queue from the call to the body of its answer.
#[derive(Clone)]
pub(super) struct Slot(Arc<Mutex<Option<Queue>>>);

impl Slot {
    pub(super) fn new(queue: Queue) -> Self {
        Self(Arc::new(Mutex::new(Some(queue))))
    }

    fn take(&self) -> Option<Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The discovery service with bodies of its own.
#[derive(Clone, Debug)]
pub struct Piecewise<S> {
    pub(super) service: S,
    pub(super) counters: Arc<ServerCounters>,
}

/// The compression that a call announces for its messages, if any. The gRPC library knows none here and turns such
/// calls away before anybody of ours sees them.
pub fn compression(headers: &http::HeaderMap) -> Option<&http::HeaderValue> {
    let named = headers.get("grpc-encoding")?;
    (named != "identity").then_some(named)
}

impl<S: NamedService> NamedService for Piecewise<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Piecewise<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if let Some(encoding) = compression(request.headers()) {
            self.counters.denied.fetch_add(1, Ordering::Relaxed);
            warn!(?encoding, "xds stream denied: its messages are compressed");
        }
        let answer = self.service.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            // A call that was turned away has none.
            let slot = answer.extensions_mut().remove::<Slot>();
            Ok(match slot.and_then(|slot| slot.take()) {
                Some(queue) => answer.map(|_| tonic::body::Body::new(Responses::new(queue))),
                None => answer,
            })
        })
    }
}

/// The body.
struct Responses {
    queue: Queue,
    /// The piece that comes next, before `rest`.
    head: Option<Bytes>,
    /// What is left of the response being sent, the next one last.
    rest: Vec<Resource>,
    ended: bool,
}

impl Responses {
    fn new(queue: Queue) -> Self {
        Self {
            queue,
            head: None,
            rest: Vec::new(),
            ended: false,
        }
    }

    /// Begins a response: its prefix, and all of it but the resources.
    fn begin(&mut self, mut response: DeltaDiscoveryResponse) -> Result<(), Status> {
        let length = response.encoded_len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE);
        let prefix = prefix.ok_or_else(|| Status::out_of_range("the response is too large"))?;
        self.rest = std::mem::take(&mut response.resources);
        self.rest.reverse();
        let mut head = BytesMut::with_capacity(PREFIX + response.encoded_len());
        head.put_u8(0);
        head.put_u32(prefix);
        head.extend_from_slice(&response.encode_to_vec());
        self.head = Some(head.freeze());
        Ok(())
    }

    /// The next piece of the response being sent.
    fn piece(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        let (mut size, mut part) = (0, DeltaDiscoveryResponse::default());
        while size < PIECE
            && let Some(resource) = self.rest.pop()
        {
            size += resource.encoded_len();
            part.resources.push(resource);
        }
        if part.resources.is_empty() {
            self.rest = Vec::new();
            return None;
        }
        Some(part.encode_to_vec().into())
    }

    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.ended = true;
        self.queue.close();
        let mut trailers = http::HeaderMap::new();
        // Only a message with odd characters fails, and those are escaped.
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(
                "grpc-status",
                http::HeaderValue::from(Code::Internal as i32),
            );
        }
        Frame::trailers(trailers)
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let end = match ready!(self.queue.poll_recv(cx)) {
                Some(Ok(response)) => match self.begin(response) {
                    Ok(()) => continue,
                    Err(status) => status,
                },
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            return Poll::Ready(Some(Ok(self.end(end))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn response(resources: usize) -> DeltaDiscoveryResponse {
        let resource = |n: usize| Resource {
            name: format!("r{n}"),
            version: "v".repeat(n % 7),
            aliases: vec![format!("a{n}")],
            resource: Some(prost_types::Any {
                type_url: "t".into(),
                value: vec![7; n % 500],
            }),
        };
        DeltaDiscoveryResponse {
            system_version_info: "9".into(),
            type_url: "t".into(),
            nonce: "1".into(),
            resources: (0..resources).map(resource).collect(),
            removed_resources: vec!["gone".into()],
        }
    }

    #[tokio::test]
    async fn pieces_are_the_message_in_the_order_it_was_said() {
        let (sender, queue) = mpsc::channel(4);
        let said = [response(0), response(5_000), response(1)];
        for one in &said {
            sender.send(Ok(one.clone())).await.unwrap();
        }
        drop(sender);
        let body = Responses::new(queue).collect().await.unwrap();
        let status = body.trailers().unwrap()["grpc-status"].clone();
        assert_eq!(status, "0");
        let mut bytes = body.to_bytes();
        for one in said {
            let prefix = bytes.split_to(PREFIX);
            let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
            let message = bytes.split_to(usize::try_from(length).unwrap());
            assert_eq!(DeltaDiscoveryResponse::decode(message).unwrap(), one);
        }
        assert!(bytes.is_empty());
    }

    #[tokio::test]
    async fn a_status_ends_the_body() {
        let (sender, queue) = mpsc::channel(4);
        let status = Status::permission_denied("no\nway");
        sender.send(Err(status)).await.unwrap();
        sender.send(Ok(response(1))).await.unwrap();
        let body = Responses::new(queue).collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "7");
        assert!(sender.is_closed());
    }
}
