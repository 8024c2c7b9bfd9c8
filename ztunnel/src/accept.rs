//! The accept loop: one function for every TCP role.
//! In: a listener, a stop signal, what to do with a connection. Out: one task per connection, owned
//! here. After the stop it accepts no more and ends with its last connection.
//! Must not: look at bytes; end because a peer or a lack of descriptors made one accept fail.

use ambit_net::original_dst;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Becomes true when no more connections are to be accepted.
pub type Stop = watch::Receiver<bool>;

/// One accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub stream: TcpStream,
    /// The other side, canonical.
    pub peer: SocketAddr,
}

/// Accepts until `stop`, then waits for the connections that are left. Dropping it cuts them.
pub async fn serve<F>(
    listener: Rc<TcpListener>,
    mut stop: Stop,
    mut handle: impl FnMut(Accepted) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            stopped = stop.wait_for(|stop| *stop) => {
                // A sender that is gone asks for the same.
                drop(stopped);
                break;
            }
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let peer = original_dst::canonical(peer);
                    connections.spawn_local(handle(Accepted { stream, peer }));
                }
                Err(error) => back_off(&error).await,
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "connection task panicked");
    }
}

/// A peer that is gone already costs nothing; without descriptors or memory the queue may wait.
async fn back_off(error: &io::Error) {
    let gone = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !gone {
        tracing::error!(%error, "cannot accept");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
