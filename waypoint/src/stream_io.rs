//! A relay endpoint (an HBONE stream, a TCP connection) as hyper wants its IO.
//! In: the two halves. Out: `hyper::rt::{Read, Write}`. Bytes read ahead by the sniffer come first.
//! Never here: a buffer of its own for bytes that flow; half-close stays half-close.

use crate::watch::Watch;
use ambit_hbone::io::{StreamInlet, StreamOutlet};
use ambit_net::relay::{
    Endpoint, Inlet, Outlet, ResetCode, StreamError, TcpInlet, TcpOutlet, Transfer, TransferError,
};
use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A CONNECT stream, for hyper.
pub(crate) type HboneIo = StreamIo<StreamInlet, StreamOutlet>;

/// A plaintext connection, for hyper.
pub(crate) type PlainIo = StreamIo<TcpInlet, TcpOutlet>;

/// What a client of ours sends.
pub(crate) trait ClientIn: Inlet + Unpin + 'static {}
impl<I: Inlet + Unpin + 'static> ClientIn for I {}
/// What it receives.
pub(crate) trait ClientOut: Outlet + Unpin + 'static {}
impl<O: Outlet + Unpin + 'static> ClientOut for O {}

/// Both halves of an endpoint, for hyper.
pub(crate) struct StreamIo<I, O> {
    inlet: I,
    outlet: O,
    ahead: Bytes,
    scratch: BytesMut,
    /// Who is told what is read.
    watch: Option<Rc<Watch>>,
}

impl<I: Inlet, O: Outlet> StreamIo<I, O> {
    /// Takes an endpoint apart.
    pub(crate) fn new(endpoint: impl Endpoint<In = I, Out = O>) -> Self {
        let (inlet, outlet) = endpoint.split();
        Self {
            inlet,
            outlet,
            ahead: Bytes::new(),
            scratch: BytesMut::new(),
            watch: None,
        }
    }

    /// With somebody who is told what is read.
    pub(crate) fn watched_by(mut self, watch: Rc<Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// With bytes that were received before and not consumed.
    pub(crate) fn with_ahead(mut self, ahead: Bytes) -> Self {
        self.ahead = ahead;
        self
    }

    /// What was received ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Receives at least one more byte ahead, at most `limit` in all; returns what is there. The same
    /// length as before means that the stream has ended.
    pub(crate) async fn peek(&mut self, limit: usize) -> io::Result<&[u8]> {
        let mut ahead = BytesMut::with_capacity(limit);
        ahead.extend_from_slice(&self.ahead);
        let room = limit.saturating_sub(ahead.len());
        if room > 0 {
            let mut sink = Sink::Memory {
                memory: &mut ahead,
                room,
            };
            poll_fn(|cx| receive(&mut self.inlet, cx, &mut sink)).await?;
        }
        self.ahead = ahead.freeze();
        Ok(&self.ahead)
    }
}

impl<I: Inlet + Unpin, O: Outlet + Unpin> Read for StreamIo<I, O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(cursor.remaining());
            cursor.put_slice(&this.ahead[..n]);
            if let Some(watch) = &this.watch {
                watch.saw(&this.ahead[..n]);
            }
            this.ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        if cursor.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let watch = this.watch.as_deref();
        let mut sink = Sink::Cursor {
            cursor,
            scratch: &mut this.scratch,
            watch,
        };
        let received = receive(&mut this.inlet, cx, &mut sink).map_ok(|_| ());
        if let (true, Some(watch)) = (received.is_pending(), watch) {
            watch.starved();
        }
        received
    }
}

impl<I: Inlet + Unpin, O: Outlet + Unpin> Write for StreamIo<I, O> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|s| s.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.outlet.poll_write(cx, slices).map_err(into_io)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_finish(cx, false).map_err(into_io)
    }
}

impl<I: Inlet, O: Outlet> Endpoint for StreamIo<I, O> {
    type In = Ahead<I>;
    type Out = O;

    fn split(self) -> (Ahead<I>, O) {
        (
            Ahead {
                bytes: self.ahead,
                inlet: self.inlet,
            },
            self.outlet,
        )
    }
}

/// An inlet some bytes of which were received before.
pub(crate) struct Ahead<I> {
    bytes: Bytes,
    inlet: I,
}

impl<I: Inlet> Inlet for Ahead<I> {
    fn poll_transfer<T: Outlet>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut T,
    ) -> Poll<Result<Transfer, TransferError>> {
        if self.bytes.is_empty() {
            return self.inlet.poll_transfer(cx, to);
        }
        let slices = [IoSlice::new(&self.bytes)];
        let n = ready!(to.poll_write(cx, &slices)).map_err(TransferError::Outlet)?;
        self.bytes.advance(n);
        Poll::Ready(Ok(Transfer::Moved(n)))
    }
}

/// Moves what is there; `false` at the end of the stream.
fn receive(
    inlet: &mut impl Inlet,
    cx: &mut Context<'_>,
    sink: &mut Sink<'_, '_>,
) -> Poll<io::Result<bool>> {
    match ready!(inlet.poll_transfer(cx, sink)) {
        Ok(Transfer::Moved(_)) => Poll::Ready(Ok(true)),
        Ok(Transfer::Ended) => Poll::Ready(Ok(false)),
        Err(TransferError::Inlet(error) | TransferError::Outlet(error)) => {
            Poll::Ready(Err(into_io(error)))
        }
    }
}

/// Memory as an outlet, so that an inlet can be read from.
enum Sink<'m, 'c> {
    Cursor {
        cursor: ReadBufCursor<'c>,
        scratch: &'m mut BytesMut,
        watch: Option<&'m Watch>,
    },
    Memory {
        memory: &'m mut BytesMut,
        room: usize,
    },
}

impl Outlet for Sink<'_, '_> {
    fn poll_reserve(
        &mut self,
        _cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<Limit<&mut BytesMut>, StreamError>> {
        Poll::Ready(Ok(match self {
            Self::Cursor {
                cursor, scratch, ..
            } => {
                let want = want.min(cursor.remaining());
                scratch.clear();
                scratch.reserve(want);
                (&mut **scratch).limit(want)
            }
            Self::Memory { memory, room } => {
                let want = want.min(*room);
                (&mut **memory).limit(want)
            }
        }))
    }

    fn commit(&mut self) -> Result<(), StreamError> {
        if let Self::Cursor {
            cursor,
            scratch,
            watch,
        } = self
        {
            cursor.put_slice(scratch);
            if let Some(watch) = watch {
                watch.saw(scratch);
            }
            scratch.clear();
        }
        Ok(())
    }

    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>> {
        let mut taken = 0;
        for slice in slices {
            let n = match self {
                Self::Cursor { cursor, watch, .. } => {
                    let n = slice.len().min(cursor.remaining());
                    cursor.put_slice(&slice[..n]);
                    if let Some(watch) = watch {
                        watch.saw(&slice[..n]);
                    }
                    n
                }
                Self::Memory { memory, room } => {
                    let n = slice.len().min(*room);
                    memory.extend_from_slice(&slice[..n]);
                    *room -= n;
                    n
                }
            };
            taken += n;
            if n < slice.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>, _last: bool) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_broken(&mut self, _cx: &mut Context<'_>) -> Poll<StreamError> {
        Poll::Pending
    }

    fn reset(&mut self, _code: ResetCode) {}
}

fn into_io(error: StreamError) -> io::Error {
    let kind = match &error {
        StreamError::Socket(source) => source.kind(),
        StreamError::Reset(_) | StreamError::Tunnel(_) => io::ErrorKind::ConnectionReset,
        StreamError::Stopped => io::ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}
