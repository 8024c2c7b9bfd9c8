//! The encrypted stream: hides which TLS library makes it.

use super::TlsError;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// Mutual TLS over `T`.
#[derive(Debug)]
pub struct SecureStream<T> {
    inner: TlsStream<T>,
    failure: TlsFailure,
}

/// The TLS error that ended a stream, if one did: kept beside it because protocols above pass on
/// only the text of what they read.
#[derive(Clone, Debug, Default)]
pub struct TlsFailure(Arc<OnceLock<rustls::Error>>);

impl TlsFailure {
    /// The error (an alert, a bad record); `None` while all is well or if the connection below
    /// failed.
    pub fn get(&self) -> Option<TlsError> {
        self.0.get().map(TlsError::from_tls)
    }
}

impl<T> SecureStream<T> {
    pub(super) fn new(inner: TlsStream<T>) -> Self {
        Self {
            inner,
            failure: TlsFailure::default(),
        }
    }

    /// The stream below.
    pub fn io(&self) -> &T {
        self.inner.get_ref().0
    }

    /// Where this stream's TLS error will be found.
    pub fn failure(&self) -> TlsFailure {
        self.failure.clone()
    }
}

pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for SecureStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if let Some(error) = result.as_ref().err().and_then(tls_error) {
            // The first one counts.
            let _ = self.failure.0.set(error.clone());
        }
        Poll::Ready(result)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SecureStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
