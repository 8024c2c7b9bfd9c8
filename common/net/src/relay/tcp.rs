//! The two halves of a TCP connection as relay endpoints.
//! In: a connected `TcpStream` of the calling runtime. Out: [`TcpInlet`], [`TcpOutlet`].
//! Owns: the socket, shared by the halves. A half that is dropped before it ended makes the close a
//! RST: the application never mistakes a cut connection for a complete one.
//! Must not happen here: a buffer held while there is nothing to read or write.

use super::buffers::{Block, LARGEST_READ};
use super::{Endpoint, Inlet, Outlet, ResetCode, StreamError, Transfer, TransferError};
use bytes::buf::Limit;
use bytes::{Buf, BufMut, BytesMut};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// First read of a connection and smallest read, bytes.
const SMALLEST_READ: usize = 16 * 1024;

/// A TCP connection to be relayed.
#[derive(Debug)]
pub struct TcpEndpoint(pub TcpStream);

impl Endpoint for TcpEndpoint {
    type In = TcpInlet;
    type Out = TcpOutlet;

    fn split(self) -> (TcpInlet, TcpOutlet) {
        let (read, write) = self.0.into_split();
        let inlet = TcpInlet {
            half: read,
            want: SMALLEST_READ,
        };
        let outlet = TcpOutlet {
            half: Some(write),
            pending: None,
            state: State::Open,
        };
        (inlet, outlet)
    }
}

/// What the application sends.
#[derive(Debug)]
pub struct TcpInlet {
    half: OwnedReadHalf,
    /// Next read, bytes: grows while reads fill it, shrinks when they do not.
    want: usize,
}

impl TcpInlet {
    fn adapt(&mut self, granted: usize, read: usize) {
        if read == granted {
            self.want = (self.want * 4).min(LARGEST_READ);
        } else if read < self.want / 4 {
            self.want = (self.want / 2).max(SMALLEST_READ);
        }
    }
}

impl Inlet for TcpInlet {
    fn poll_transfer<O: Outlet>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut O,
    ) -> Poll<Result<Transfer, TransferError>> {
        // Readiness first: memory and flow-control credit are taken only for bytes that are there.
        ready!(self.half.as_ref().poll_read_ready(cx)).map_err(read_failed)?;
        let mut window = ready!(to.poll_reserve(cx, self.want)).map_err(TransferError::Outlet)?;
        let granted = window.remaining_mut();
        let read = pin!(self.half.read_buf(&mut window)).poll(cx);
        to.commit().map_err(TransferError::Outlet)?;
        match ready!(read).map_err(read_failed)? {
            0 => Poll::Ready(Ok(Transfer::Ended)),
            n => {
                self.adapt(granted, n);
                Poll::Ready(Ok(Transfer::Moved(n)))
            }
        }
    }
}

fn read_failed(error: io::Error) -> TransferError {
    TransferError::Inlet(StreamError::Socket(error))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finished,
}

/// What the application receives.
#[derive(Debug)]
pub struct TcpOutlet {
    /// `None` only while being dropped.
    half: Option<OwnedWriteHalf>,
    pending: Option<Block>,
    state: State,
}

impl TcpOutlet {
    fn half(&mut self) -> Pin<&mut OwnedWriteHalf> {
        Pin::new(self.half.as_mut().expect("taken only by drop"))
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let half = self.half.as_mut().expect("taken only by drop");
        if let Some(block) = &mut self.pending {
            while !block.bytes.is_empty() {
                let n = ready!(Pin::new(&mut *half).poll_write(cx, &block.bytes))
                    .map_err(StreamError::Socket)?;
                block.bytes.advance(n);
            }
        }
        self.pending = None;
        Poll::Ready(Ok(()))
    }
}

impl Outlet for TcpOutlet {
    fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<Limit<&mut BytesMut>, StreamError>> {
        ready!(self.poll_pending(cx))?;
        let block = self.pending.insert(Block::take(want));
        let room = block.room().min(want);
        Poll::Ready(Ok((&mut block.bytes).limit(room)))
    }

    fn commit(&mut self) -> Result<(), StreamError> {
        self.pending.take_if(|block| block.bytes.is_empty());
        Ok(())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>> {
        ready!(self.poll_pending(cx))?;
        self.half()
            .poll_write_vectored(cx, slices)
            .map_err(StreamError::Socket)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.poll_pending(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, last: bool) -> Poll<Result<(), StreamError>> {
        ready!(self.poll_pending(cx))?;
        if !last {
            ready!(self.half().poll_shutdown(cx)).map_err(StreamError::Socket)?;
        }
        self.state = State::Finished;
        Poll::Ready(Ok(()))
    }

    /// A socket has no sign of its own for this: the inlet of the same socket sees a RST, and
    /// after its end the next write does.
    fn poll_broken(&mut self, _cx: &mut Context<'_>) -> Poll<StreamError> {
        Poll::Pending
    }

    fn reset(&mut self, _code: ResetCode) {
        self.state = State::Open;
    }
}

impl Drop for TcpOutlet {
    fn drop(&mut self) {
        let Some(half) = self.half.take() else {
            return;
        };
        if self.state != State::Finished {
            // Fails only for a socket that is gone already.
            let _ = half.as_ref().set_zero_linger();
        }
        // The half would shut the socket down, which says FIN; closing says what linger asks for.
        half.forget();
    }
}
