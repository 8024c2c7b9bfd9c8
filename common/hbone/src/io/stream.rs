//! One CONNECT stream, as an endpoint of a relay.
//! In: the halves the mux gives. Out: [`StreamInlet`] and [`StreamOutlet`].
//! Flow-control credit goes back when bytes are consumed, not when they arrive; send credit is held
//! only while bytes are on their way through, so idle streams leave the tunnel's window to others.
//! Must not happen here: a stream that ended early taken for complete; one dropped early reset
//! without saying so.
//! Spec: RFC 9113 sections 5.2, 6.4, 8.5.

use super::client::{Permit, Tunnel};
use super::error::stream_error;
use ambit_net::relay::{
    Block, Endpoint, Inlet, LARGEST_READ, Outlet, ResetCode, StreamError, Transfer, TransferError,
};
use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

/// Received chunks taken from the mux at a time and written with one call.
const BATCH: usize = 64;

/// An open stream.
pub struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Present on the side that opened it: the stream's place on its tunnel.
    permit: Option<Rc<Permit>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(send: SendStream<Bytes>, recv: RecvStream, permit: Option<Permit>) -> Self {
        Self {
            send,
            recv,
            permit: permit.map(Rc::new),
        }
    }

    /// Whether to begin anything new on this stream; `None` on the side that accepted it.
    pub fn life(&self) -> Option<TunnelLife> {
        let permit = self.permit.as_ref()?;
        Some(TunnelLife(Rc::downgrade(permit.tunnel())))
    }

    /// As a byte stream for protocols on top (HTTP in a waypoint, TLS of double HBONE). Costs a
    /// copy each way; relays use the halves.
    pub fn into_io(self) -> super::StreamIo {
        super::StreamIo::new(self)
    }
}

/// Whether the tunnel of a stream still takes new ones; does not keep it open.
///
/// Streams of a tunnel whose peer is leaving go on until the peer's patience ends. Who keeps a stream
/// for later, as a pool of HTTP connections does, leaves it before that.
#[derive(Clone, Debug)]
pub struct TunnelLife(Weak<Tunnel>);

impl TunnelLife {
    /// False once the tunnel is closed, told to go away by its peer (GOAWAY), or retired.
    pub fn takes_streams(&self) -> bool {
        self.0.upgrade().is_some_and(|t| t.takes_streams())
    }
}

impl Endpoint for Stream {
    type In = StreamInlet;
    type Out = StreamOutlet;

    fn split(self) -> (StreamInlet, StreamOutlet) {
        let inlet = StreamInlet {
            recv: self.recv,
            chunks: VecDeque::new(),
            end: None,
            opened_here: self.permit.is_some(),
            _permit: self.permit.clone(),
        };
        let outlet = StreamOutlet {
            send: self.send,
            block: None,
            open: true,
            _permit: self.permit,
        };
        (inlet, outlet)
    }
}

/// What the peer sends.
pub struct StreamInlet {
    recv: RecvStream,
    /// Received and not yet consumed; their credit is not given back yet.
    chunks: VecDeque<Bytes>,
    end: Option<Result<(), StreamError>>,
    opened_here: bool,
    _permit: Option<Rc<Permit>>,
}

impl StreamInlet {
    /// The next received bytes, kept until [`StreamInlet::consume`]; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`] after the bytes received before it, once; afterwards `None`.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, StreamError>> {
        if !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(self.chunks.front().map(|chunk| &chunk[..])))
    }

    /// Drops the first `n` received bytes and lets the peer send as many again.
    pub fn consume(&mut self, n: usize) {
        let mut left = n;
        while let Some(front) = self.chunks.front_mut() {
            if front.len() > left {
                front.advance(left);
                break;
            }
            left -= front.len();
            self.chunks.pop_front();
        }
        // Fails only on a stream that is over, where credit means nothing.
        let _ = self.recv.flow_control().release_capacity(n);
    }

    /// True with bytes at hand, false at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        while self.end.is_none() && self.chunks.len() < BATCH {
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                Poll::Ready(Some(Ok(chunk))) => self.chunks.push_back(chunk),
                Poll::Ready(Some(Err(error))) => self.end = Some(self.closed_by(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Pending => break,
            }
        }
        if !self.chunks.is_empty() {
            return Poll::Ready(Ok(true));
        }
        match &mut self.end {
            Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).map(|()| false)),
            None => Poll::Pending,
        }
    }

    /// A server may reset with `NO_ERROR` once its side is complete (RFC 9113 section 8.1).
    fn closed_by(&self, error: h2::Error) -> Result<(), StreamError> {
        match stream_error(error) {
            StreamError::Reset(ResetCode::NO_ERROR) if self.opened_here => Ok(()),
            other => Err(other),
        }
    }
}

impl Inlet for StreamInlet {
    fn poll_transfer<O: Outlet>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut O,
    ) -> Poll<Result<Transfer, TransferError>> {
        if !ready!(self.poll_fill(cx)).map_err(TransferError::Inlet)? {
            return Poll::Ready(Ok(Transfer::Ended));
        }
        let mut slices = [IoSlice::new(&[]); BATCH];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let n = ready!(to.poll_write(cx, &slices[..count])).map_err(TransferError::Outlet)?;
        self.consume(n);
        Poll::Ready(Ok(Transfer::Moved(n)))
    }
}

/// What we send.
pub struct StreamOutlet {
    send: SendStream<Bytes>,
    block: Option<Block>,
    open: bool,
    _permit: Option<Rc<Permit>>,
}

impl StreamOutlet {
    /// Send credit, at most `want`. Must be given back by [`Outlet::commit`].
    fn poll_credit(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<usize, StreamError>> {
        self.send.reserve_capacity(want);
        loop {
            let credit = self.send.capacity().min(want);
            if credit > 0 {
                return Poll::Ready(Ok(credit));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => return Poll::Ready(Err(self.why_closed(cx))),
            }
        }
    }

    fn why_closed(&mut self, cx: &mut Context<'_>) -> StreamError {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => refused(reason),
            Poll::Ready(Err(error)) => stream_error(error),
            Poll::Pending => StreamError::Reset(ResetCode::CANCEL),
        }
    }
}

impl Outlet for StreamOutlet {
    fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<Limit<&mut BytesMut>, StreamError>> {
        let credit = ready!(self.poll_credit(cx, want))?;
        let block = self.block.insert(Block::take(credit));
        let room = block.room().min(credit);
        Poll::Ready(Ok((&mut block.bytes).limit(room)))
    }

    fn commit(&mut self) -> Result<(), StreamError> {
        let mut result = Ok(());
        if let Some(mut block) = self.block.take()
            && !block.bytes.is_empty()
        {
            let bytes = block.bytes.split().freeze();
            result = self.send.send_data(bytes, false).map_err(stream_error);
        }
        self.send.reserve_capacity(0);
        result
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>> {
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let mut window = ready!(self.poll_reserve(cx, total.min(LARGEST_READ)))?;
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(window.remaining_mut());
            window.put_slice(&slice[..n]);
            written += n;
        }
        self.commit()?;
        Poll::Ready(Ok(written))
    }

    /// What is committed belongs to the tunnel's own task.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, _last: bool) -> Poll<Result<(), StreamError>> {
        if self.open {
            if self.send.send_data(Bytes::new(), true).is_err() {
                return Poll::Ready(Err(self.why_closed(cx)));
            }
            self.open = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        self.send.poll_reset(cx).map(|result| match result {
            Ok(reason) => refused(reason),
            Err(error) => stream_error(error),
        })
    }

    fn reset(&mut self, code: ResetCode) {
        self.open = false;
        self.send.send_reset(Reason::from(code.0));
    }
}

impl Drop for StreamOutlet {
    fn drop(&mut self) {
        if self.open {
            // Not CANCEL, which some peers take for a clean end.
            self.reset(ResetCode::CONNECT_ERROR);
        }
    }
}

fn refused(reason: Reason) -> StreamError {
    match ResetCode(reason.into()) {
        ResetCode::NO_ERROR => StreamError::Stopped,
        code => StreamError::Reset(code),
    }
}
