//! HTTP on a new connection to an endpoint.
//! In: an endpoint, dialled by `connect`. Out: the sending end, as the pool keeps it.
//! Owns: a task per connection, which ends when it closes or when no sender is left.
//! Must not happen here: a wait for an endpoint without the cluster's limit.

use super::super::Upstreams;
use super::super::connect::{UpstreamIo, connect};
use super::super::endpoints::Target;
use super::{Sender1, Sender2};
use crate::message::body::Body;
use crate::outcome::ConnectFailure;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use std::future::Future;

/// Receive windows of HTTP/2.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Largest header list accepted.
const HEADER_LIST: u32 = 64 << 10;
/// Headers of one message.
const MAX_HEADERS: usize = 512;

pub(super) async fn handshake1(
    upstreams: &Upstreams,
    target: &Target,
) -> Result<Sender1, ConnectFailure> {
    let connection = connect(upstreams, target, None).await?;
    let peer = connection.peer();
    let (beneath, io) = (connection.beneath(), connection.into_io());
    let shaken = http1::Builder::new()
        .max_buf_size(HEADER_LIST as usize * 2)
        .max_headers(MAX_HEADERS)
        .handshake::<UpstreamIo, Body>(io);
    let (http, connection) = shaken.await.map_err(|_| ConnectFailure::Dial)?;
    drive(connection);
    Ok(Sender1 {
        http,
        beneath,
        peer,
    })
}

pub(super) async fn handshake2(
    upstreams: &Upstreams,
    target: &Target,
) -> Result<Sender2, ConnectFailure> {
    let connection = connect(upstreams, target, None).await?;
    let peer = connection.peer();
    let (beneath, io) = (connection.beneath(), connection.into_io());
    let shaken = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .handshake::<UpstreamIo, Body>(io);
    let limit = target.cluster.connect_timeout;
    let (http, connection) = tokio::time::timeout(limit, shaken)
        .await
        .map_err(|_| ConnectFailure::Timeout)?
        .map_err(|_| ConnectFailure::Dial)?;
    drive(connection);
    Ok(Sender2 {
        http,
        beneath,
        peer,
    })
}

/// The connection's task ends with the connection: when it closes, or when no sender is left.
fn drive(connection: impl Future<Output = hyper::Result<()>> + 'static) {
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection failed");
        }
    });
}

/// Runs hyper's tasks on the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
