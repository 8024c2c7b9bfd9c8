//! The end of a tunnel's connection: said, then waited for.
//! In: the stream below the mux. Out: [`Shared`], which the mux moves its bytes over, and with which
//! whoever drives the mux waits, after a clean end, for the peer to end its side too.
//! A socket that is closed while the peer still sends (a PING, flow-control credit) answers with RST,
//! and a RST takes away what the peer had received and not read yet: the last bytes of a stream that
//! was complete for us.
//! Must not happen here: a wait without the deadline, memory for what is thrown away, a wait for a peer
//! that broke the protocol.
//! Spec: RFC 9112 section 9.6 (the same for HTTP/1.1).

use super::Settings;
use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes thrown away at a time.
const SCRATCH: usize = 4096;
/// Reads in one turn: a peer that goes on sending must not keep the worker from others.
const BATCH: usize = 16;
/// Bytes a peer may have under way beside what flow control allows: frames of control.
const CONTROL: usize = 64 << 10;

/// A stream in two hands, of which one at a time uses it.
pub(super) struct Shared<T>(Rc<RefCell<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Shared<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Rc::new(RefCell::new(io)))
    }

    fn io(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}

impl<T: AsyncRead + Unpin> Shared<T> {
    /// Waits until the peer has ended its side, has sent more than could be under way, or has had
    /// [`Settings::close_deadline`] for it. Ours must have ended before.
    pub(super) async fn peer_ended(&self, settings: &Closing) {
        let mut left = settings.most;
        let ended = poll_fn(|cx| self.poll_peer_ended(cx, &mut left));
        // Who does not end in time is cut.
        let _ = tokio::time::timeout(settings.deadline, ended).await;
    }

    fn poll_peer_ended(&self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        let mut scratch = [0; SCRATCH];
        for _ in 0..BATCH {
            let mut read = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *self.io()).poll_read(cx, &mut read)) {
                Ok(()) if (1..*left).contains(&read.filled().len()) => {
                    *left -= read.filled().len();
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    deadline: std::time::Duration,
    /// Bytes thrown away at most.
    most: usize,
}

impl Closing {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            deadline: settings.close_deadline,
            most: settings.connection_window as usize + CONTROL,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shared<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io()).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Shared<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::worker;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    async fn close(io: impl AsyncRead + AsyncWrite + Unpin, settings: &Settings) {
        let mut shared = Shared::new(io);
        shared.shutdown().await.unwrap();
        shared.peer_ended(&Closing::of(settings)).await;
    }

    #[test]
    fn a_peer_that_still_speaks_reads_everything() {
        worker(false, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = listener.local_addr().unwrap();
            let (near, far) = tokio::join!(TcpStream::connect(to), listener.accept());
            let (mut near, mut far) = (near.unwrap(), far.unwrap().0);
            let said = vec![7; 32 << 10];
            let expected = said.clone();
            let near = tokio::task::spawn_local(async move {
                near.write_all(&said).await.unwrap();
                close(near, &Settings::default()).await;
            });
            let mut got = vec![0];
            far.read_exact(&mut got).await.unwrap();
            far.write_all(b"credit").await.unwrap();
            far.read_to_end(&mut got).await.expect("no RST");
            assert!(got == expected);
            assert!(!near.is_finished(), "the far side has not ended");
            drop(far);
            near.await.unwrap();
        });
    }

    #[test]
    fn who_never_ends_or_never_stops_is_not_waited_for_longer_than_agreed() {
        worker(true, async {
            let settings = Settings::default();
            let (near, silent) = duplex(1024);
            let began = Instant::now();
            close(near, &settings).await;
            assert_eq!(began.elapsed(), settings.close_deadline);
            drop(silent);

            let (near, mut loud) = duplex(SCRATCH * 2);
            let flood = async {
                let mut sent = 0_usize;
                while let Ok(n) = loud.write(&[0; SCRATCH]).await {
                    sent += n;
                }
                sent
            };
            let (sent, ()) = tokio::join!(flood, close(near, &settings));
            let most = settings.connection_window as usize + CONTROL + SCRATCH * 3;
            assert!(sent <= most, "{sent}");
        });
    }
}
