//! A stream as `AsyncRead` and `AsyncWrite`.
//! In: protocols that know nothing of relays. Out: bytes. `shutdown` ends our side cleanly, dropping
//! without it resets.

use super::error::io_error;
use super::stream::{Stream, StreamInlet, StreamOutlet};
use ambit_net::relay::{Endpoint, Outlet};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See [`Stream::into_io`].
pub struct StreamIo {
    inlet: StreamInlet,
    outlet: StreamOutlet,
}

impl StreamIo {
    pub(super) fn new(stream: Stream) -> Self {
        let (inlet, outlet) = stream.split();
        Self { inlet, outlet }
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let n = match ready!(self.inlet.poll_chunk(cx)).map_err(io_error)? {
            Some(chunk) => {
                let n = chunk.len().min(buf.remaining());
                buf.put_slice(&chunk[..n]);
                n
            }
            None => return Poll::Ready(Ok(())),
        };
        self.inlet.consume(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|b| b.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.outlet.poll_write(cx, bufs).map_err(io_error)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_finish(cx, false).map_err(io_error)
    }
}
