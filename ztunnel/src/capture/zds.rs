//! The connection to the agent.
//! In: its socket path. Out: each request served by the table, one reply per request, in order.
//! Reconnects after 10 ms, doubling to 15 s; while unconnected the pods go on being served, but the
//! proxy is not ready. Ends when the process drains, so that the agent turns to its successor.
//! Spec: `istio.workload.zds` over `SOCK_SEQPACKET`.

use super::message::{self, ProtocolError, Request};
use super::table::{PodTable, Reply};
use ambit_net::fd_passing::{RecvError, SendError, SeqPacket};
use ambit_runtime::drain::Watch;
use ambit_runtime::readiness::Gate;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Serves the agent at `path` until the drain begins.
pub async fn run(path: PathBuf, mut table: PodTable, gate: Gate, mut drain: Watch) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut synced = false;
        let error = tokio::select! {
            biased;
            _ = drain.signalled() => return,
            error = connect_and_serve(&path, &mut table, &gate, &mut synced) => error,
        };
        gate.close();
        if synced {
            pause = FIRST_PAUSE;
        }
        let source = ambit_runtime::causes::causes(&error);
        tracing::warn!(error = source, retry = ?pause, "no connection to the agent");
        tokio::select! {
            _ = drain.signalled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect_and_serve(
    path: &std::path::Path,
    table: &mut PodTable,
    gate: &Gate,
    synced: &mut bool,
) -> SessionError {
    let socket = match SeqPacket::connect(path) {
        Ok(socket) => socket,
        Err(source) => {
            return SessionError::Connect {
                path: path.to_owned(),
                source,
            };
        }
    };
    match serve(&socket, table, || {
        *synced = true;
        gate.open();
    })
    .await
    {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Serves one connection until it fails; `on_snapshot` runs when all pods have been named.
///
/// # Errors
/// Always: the agent went away, or one of us broke the protocol.
pub async fn serve(
    socket: &SeqPacket,
    table: &mut PodTable,
    mut on_snapshot: impl FnMut(),
) -> Result<std::convert::Infallible, SessionError> {
    let workers = table.workers();
    table.begin_session();
    send(socket, &message::hello(workers), &[]).await?;
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let mut retry = tokio::time::interval(RETRY_PENDING);
    loop {
        let (len, fds) = tokio::select! {
            received = socket.recv(&mut buffer) => received.map_err(SessionError::Receive)?,
            _ = retry.tick() => {
                table.retry_pending().await;
                continue;
            }
        };
        if len == 0 {
            return Err(SessionError::Closed);
        }
        let request = message::decode(&buffer[..len], fds, workers)?;
        let snapshot = matches!(request, Request::SnapshotSent);
        match table.handle(request).await {
            Reply::Done => send(socket, &message::ack(None), &[]).await?,
            Reply::Failed(error) => {
                tracing::error!(error, "request of the agent failed");
                send(socket, &message::ack(Some(error)), &[]).await?;
            }
            Reply::Held(held, fds) => {
                let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                send(socket, &message::ack_held(&held), &borrowed).await?;
            }
        }
        if snapshot {
            on_snapshot();
        }
    }
}

async fn send(
    socket: &SeqPacket,
    bytes: &[u8],
    fds: &[std::os::fd::BorrowedFd<'_>],
) -> Result<(), SessionError> {
    match tokio::time::timeout(SEND_DEADLINE, socket.send(bytes, fds)).await {
        Ok(sent) => sent.map_err(SessionError::Send),
        Err(_) => Err(SessionError::Stuck),
    }
}

/// Why a connection to the agent ended.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Nobody listens.
    #[error("cannot connect to the agent at {path}")]
    Connect {
        /// Socket file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The agent closed it.
    #[error("the agent closed the connection")]
    Closed,
    /// The agent does not read.
    #[error("the agent does not read its replies")]
    Stuck,
    /// Reading failed.
    #[error("cannot receive from the agent")]
    Receive(#[source] RecvError),
    /// Writing failed.
    #[error("cannot send to the agent")]
    Send(#[source] SendError),
    /// A message makes no sense.
    #[error("the agent broke the protocol")]
    Protocol(#[from] ProtocolError),
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const RETRY_PENDING: Duration = Duration::from_secs(5);
const SEND_DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_MESSAGE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
