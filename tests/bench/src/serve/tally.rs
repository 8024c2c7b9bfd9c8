//! What reached the server since somebody last asked.
//! In: events. Out: [`Counts`], and a page that gives and forgets them.
//! Owns: the counts of one server.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Totals since they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Connections accepted
    pub(crate) connections: u64,
    /// Requests answered
    pub(crate) requests: u64,
    /// Bulk bytes received, each compared
    pub(crate) bytes: u64,
    /// What was not as it was sent, in words
    pub(crate) broken: Vec<String>,
    /// Addresses connections came from
    pub(crate) peers: BTreeSet<IpAddr>,
    /// Addresses they were made to
    pub(crate) locals: BTreeSet<SocketAddr>,
}

/// Shared counts.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    /// Changes the counts.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A connection between these two.
    pub(crate) fn connection(&self, local: SocketAddr, peer: SocketAddr) {
        self.count(|counts| {
            counts.connections += 1;
            counts.peers.insert(peer.ip());
            counts.locals.insert(local);
        });
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers every connection with the counts and forgets them.
///
/// # Errors
/// The listener's.
pub(crate) async fn report(listener: TcpListener, tally: Arc<Tally>) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut head = [0; 1024];
        // One short request per connection, from the bench itself.
        if stream.read(&mut head).await.unwrap_or(0) == 0 {
            continue;
        }
        let body = serde_json::to_string(&tally.take())?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // Whoever does not read it asks again.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
