//! What answers at a site's listener: close at once, or echo.
//! In: a site. Out: how many connections or messages were answered, each at the address that was dialled.
//! Owns: one thread; it ends when the listener is shut down, which dropping this does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use ambit_net::original_dst::canonical;
use anyhow::ensure;
use nix::sys::socket::{Shutdown, shutdown};

use super::client::{Kind, MESSAGE};
use super::site::Site;

/// A running listener.
pub(crate) struct Echo {
    listener: TcpListener,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    echo: AtomicBool,
    served: AtomicU64,
    elsewhere: AtomicU64,
}

impl Echo {
    /// Answers at the site's outbound listener.
    ///
    /// # Errors
    /// No thread or descriptor to be had.
    pub(crate) fn start(site: &Site) -> anyhow::Result<Self> {
        let listener = site.listener()?;
        let (accepting, dialled) = (listener.try_clone()?, site.dials);
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        let thread = std::thread::Builder::new()
            .name("hop".to_owned())
            .spawn(move || {
                // Otherwise nobody answers, and the client says so.
                if super::pin().is_ok() {
                    accept(&accepting, dialled, &shared);
                }
            })?;
        Ok(Self {
            listener,
            counts,
            thread: Some(thread),
        })
    }

    /// Counts from nothing, for this kind of client.
    pub(crate) fn prepare(&self, kind: Kind) {
        self.counts
            .echo
            .store(kind == Kind::RoundTrip, Ordering::SeqCst);
        self.counts.served.store(0, Ordering::SeqCst);
    }

    /// What was answered since.
    ///
    /// # Errors
    /// Connections that were made to another address.
    pub(crate) fn served(&self) -> anyhow::Result<u64> {
        let elsewhere = self.counts.elsewhere.load(Ordering::SeqCst);
        ensure!(elsewhere == 0, "{elsewhere} connections to another address");
        Ok(self.counts.served.load(Ordering::SeqCst))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Wakes the thread out of accept; a failure would mean that there is no listener any more.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, dialled: SocketAddr, counts: &Counts) {
    while let Ok((stream, _)) = listener.accept() {
        if stream.local_addr().map(canonical).ok() != Some(dialled) {
            counts.elsewhere.fetch_add(1, Ordering::SeqCst);
        }
        if counts.echo.load(Ordering::SeqCst) {
            // The client notices a connection that breaks.
            let _ = echo(stream, &counts.served);
        } else {
            counts.served.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn echo(mut stream: TcpStream, served: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message)?;
        served.fetch_add(1, Ordering::SeqCst);
        stream.write_all(&message)?;
    }
}
