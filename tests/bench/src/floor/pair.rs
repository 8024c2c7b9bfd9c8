//! Threads of a relay of bulk streams, in pairs: one for each direction of a connection.
//! In: a listener and where to connect. Out: connections relayed, their ends passed on.
//! Owns: its pairs. The first of a pair accepts, dials and relays forth, its partner relays back; then both
//! are there for the next connection, so that starting threads is no part of the floor.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use super::buffers::Buffers;
use super::copy::copy;
use super::sealed::{open, seal};
use super::{Mode, Work};

/// Pairs that wait for connections from the start.
const WAITING: usize = 16;

/// A listener and its pairs.
pub(crate) struct Door<'a> {
    /// Accepts
    pub(crate) listener: TcpListener,
    /// Next hop
    pub(crate) connect: SocketAddr,
    /// What to do
    pub(crate) mode: Mode,
    /// Pairs that have no connection
    pub(crate) idle: AtomicUsize,
    /// Shared by all
    pub(crate) buffers: &'a Buffers,
}

impl<'a> Door<'a> {
    /// Starts to relay.
    pub(crate) fn open<'s>(&'s self, scope: &'s Scope<'s, 'a>)
    where
        'a: 's,
    {
        for _ in 0..WAITING {
            self.pair(scope);
        }
    }

    fn pair<'s>(&'s self, scope: &'s Scope<'s, 'a>)
    where
        'a: 's,
    {
        let (hand, back) = sync_channel::<(TcpStream, TcpStream)>(1);
        let (done, ended) = sync_channel::<()>(1);
        let partner = move || {
            for (server, client) in back {
                self.direction(self.mode.rear(), &server, &client);
                if done.send(()).is_err() {
                    return;
                }
            }
        };
        self.idle.fetch_add(1, Ordering::SeqCst);
        let first = move || self.first(scope, &hand, &ended);
        let started = Builder::new().spawn_scoped(scope, partner);
        // Without threads there is one pair fewer; the others go on.
        if started.is_err() || Builder::new().spawn_scoped(scope, first).is_err() {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn first<'s>(
        &'s self,
        scope: &'s Scope<'s, 'a>,
        hand: &SyncSender<(TcpStream, TcpStream)>,
        ended: &Receiver<()>,
    ) where
        'a: 's,
    {
        while let Ok((client, _)) = self.listener.accept() {
            if self.idle.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.pair(scope);
            }
            // Whoever dialled sees a connection closed without an answer, and the bench fails.
            let _ = self.relay(&client, hand, ended);
            self.idle.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn relay(
        &self,
        client: &TcpStream,
        hand: &SyncSender<(TcpStream, TcpStream)>,
        ended: &Receiver<()>,
    ) -> io::Result<()> {
        let server = TcpStream::connect(self.connect)?;
        server.set_nodelay(true)?;
        let streams = (server.try_clone()?, client.try_clone()?);
        hand.send(streams).map_err(io::Error::other)?;
        self.direction(self.mode.front(), client, &server);
        ended.recv().map_err(io::Error::other)
    }

    /// One direction to its end, which is passed on: an orderly one as such, a broken one to both sides.
    fn direction(&self, work: Work, from: &TcpStream, to: &TcpStream) {
        let mut buffer = self.buffers.take();
        let done = match work {
            Work::Copy => copy(from, to, &mut buffer),
            Work::Seal => seal(from, to, &mut buffer),
            Work::Open => open(from, to, &mut buffer),
        };
        self.buffers.give_back(buffer);
        // A side that is gone already needs no telling.
        let _ = match done {
            Ok(()) => to.shutdown(Shutdown::Write),
            Err(_) => from
                .shutdown(Shutdown::Both)
                .and(to.shutdown(Shutdown::Both)),
        };
    }
}
