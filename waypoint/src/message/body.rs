//! Bodies as they pass: one type for whatever is sent on, and the recording that makes a request
//! repeatable.
//! In: a received body. Out: [`Body`]; [`Recording`] hands out the same request body again while it
//! fits in [`REPLAY_LIMIT`].
//! Never here: a copy of bytes; frames share the memory they were received in.

use super::grpc::Messages;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
use std::io::ErrorKind::{InvalidData, InvalidInput};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thiserror::Error;
use tokio::sync::Notify;

/// Bytes of a request body kept for retries and mirrors (Envoy's default buffer limit).
pub(crate) const REPLAY_LIMIT: usize = 1024 * 1024;

/// Why a body ended before its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// Whoever sends it broke off.
    #[error("the body broke off")]
    Source(#[source] hyper::Error),
    /// The route's time is over.
    #[error("the route's timeout ended the response")]
    Timeout,
    /// It is being sent for the second time and was not kept.
    #[error("the body is too large to be sent again")]
    NotKept,
}

/// Any body.
pub(crate) struct Body(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>);

impl Body {
    /// Boxes a body.
    pub(crate) fn new(
        body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static,
    ) -> Self {
        Self(Box::pin(body))
    }

    /// None.
    pub(crate) fn empty() -> Self {
        Self::new(Empty::new().map_err(|never| match never {}))
    }

    /// These bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::new(Full::new(bytes.into()).map_err(|never| match never {}))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A request body, received once and sent as often as needed.
pub(crate) struct Recording {
    source: RefCell<Incoming>,
    kept: RefCell<Kept>,
    received: Cell<u64>,
    /// gRPC messages; counted where the request is a gRPC call.
    messages: Option<RefCell<Messages>>,
    /// Its sender broke its framing.
    malformed: Cell<bool>,
    keep: bool,
    changed: Notify,
}

/// What a request body will be needed for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purpose {
    /// It may have to be sent again.
    pub(crate) keep: bool,
    /// It carries gRPC messages.
    pub(crate) grpc: bool,
}

#[derive(Default)]
struct Kept {
    frames: Vec<Piece>,
    bytes: usize,
    state: KeptState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum KeptState {
    #[default]
    Growing,
    Complete,
    /// Too large, or not wanted: only the receiver of the first sending gets it.
    Given,
    Broken,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl Piece {
    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }
}

impl Recording {
    /// Begins with its first byte.
    pub(crate) fn new(source: Incoming, purpose: Purpose) -> Rc<Self> {
        let mut kept = Kept::default();
        if http_body::Body::is_end_stream(&source) {
            kept.state = KeptState::Complete;
        }
        Rc::new(Self {
            source: RefCell::new(source),
            kept: RefCell::new(kept),
            received: Cell::new(0),
            messages: purpose.grpc.then(RefCell::default),
            malformed: Cell::new(false),
            keep: purpose.keep,
            changed: Notify::new(),
        })
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }

    /// gRPC messages received so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.as_ref().map_or(0, |m| m.borrow().count())
    }

    /// Whether its sender broke its framing: no upstream is to blame.
    pub(crate) fn is_malformed(&self) -> bool {
        self.malformed.get()
    }

    /// Whether all that was received is still there.
    pub(crate) fn can_replay(&self) -> bool {
        matches!(
            self.kept.borrow().state,
            KeptState::Growing | KeptState::Complete
        )
    }

    /// The body from its beginning. Only the latest one receives; earlier ones end with an error.
    pub(crate) fn play(self: &Rc<Self>) -> Body {
        Body::new(Play {
            recording: self.clone(),
            next: 0,
        })
    }

    /// The whole body once it has been received; `None` if it is not kept or broke off.
    pub(crate) async fn complete(self: &Rc<Self>) -> Option<Body> {
        loop {
            let changed = self.changed.notified();
            match self.kept.borrow().state {
                KeptState::Complete => return Some(self.play()),
                KeptState::Given | KeptState::Broken => return None,
                KeptState::Growing => {}
            }
            changed.await;
        }
    }

    /// Nothing more will be received: whoever waits for the rest stops.
    pub(crate) fn close(&self) {
        let mut kept = self.kept.borrow_mut();
        if kept.state == KeptState::Growing {
            kept.state = KeptState::Broken;
            self.changed.notify_waiters();
        }
    }

    fn keep(&self, piece: &Piece) {
        let mut kept = self.kept.borrow_mut();
        if let Piece::Data(data) = piece {
            self.received.set(self.received.get() + data.len() as u64);
            if let Some(messages) = &self.messages {
                messages.borrow_mut().saw(data);
            }
            kept.bytes += data.len();
        }
        if kept.state != KeptState::Growing {
            return;
        }
        if self.keep && kept.bytes <= REPLAY_LIMIT {
            kept.frames.push(piece.clone());
        } else {
            kept.frames.clear();
            kept.state = KeptState::Given;
            self.changed.notify_waiters();
        }
    }

    fn end(&self, state: KeptState) {
        let mut kept = self.kept.borrow_mut();
        if kept.state == KeptState::Growing {
            kept.state = state;
            self.changed.notify_waiters();
        }
    }
}

/// Whether a body ended because of what was sent, not because its sender went away.
fn is_malformed(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), InvalidData | InvalidInput);
        }
        source = cause.source();
    }
    false
}

struct Play {
    recording: Rc<Recording>,
    next: usize,
}

impl http_body::Body for Play {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let recording = self.recording.clone();
        {
            let kept = recording.kept.borrow();
            if let Some(piece) = kept.frames.get(self.next) {
                self.next += 1;
                return Poll::Ready(Some(Ok(piece.frame())));
            }
            match kept.state {
                KeptState::Complete => return Poll::Ready(None),
                KeptState::Broken => return Poll::Ready(Some(Err(BodyError::NotKept))),
                KeptState::Given if self.next == 0 && kept.bytes > 0 => {
                    return Poll::Ready(Some(Err(BodyError::NotKept)));
                }
                KeptState::Given | KeptState::Growing => {}
            }
        }
        let mut source = recording.source.borrow_mut();
        let frame = ready!(Pin::new(&mut *source).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                recording.end(KeptState::Complete);
                None
            }
            Some(Err(error)) => {
                recording.malformed.set(is_malformed(&error));
                recording.end(KeptState::Broken);
                Some(Err(BodyError::Source(error)))
            }
            Some(Ok(frame)) => {
                let piece = match frame.into_data() {
                    Ok(data) => Piece::Data(data),
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => Piece::Trailers(trailers),
                        // There are only these two kinds.
                        Err(_) => return Poll::Ready(None),
                    },
                };
                recording.keep(&piece);
                // Whoever sends a body of known length does not ask for its end.
                if http_body::Body::is_end_stream(&*source) {
                    recording.end(KeptState::Complete);
                }
                self.next += 1;
                Some(Ok(piece.frame()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.recording.kept.borrow();
        kept.state == KeptState::Complete && self.next >= kept.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.recording.kept.borrow();
        if self.next == 0 && kept.bytes == 0 && kept.state != KeptState::Complete {
            return http_body::Body::size_hint(&*self.recording.source.borrow());
        }
        if kept.state == KeptState::Complete && self.next == 0 {
            return SizeHint::with_exact(kept.bytes as u64);
        }
        SizeHint::default()
    }
}
