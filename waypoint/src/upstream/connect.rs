//! One connection to an endpoint: a CONNECT stream in a tunnel with our own identity, or plain TCP.
//! In: a [`Target`] and who the client is. Out: a [`Connection`].
//! Never here: a wait without a deadline, a peer that is not one of the expected.

use super::Upstreams;
use super::endpoints::Target;
use super::race;
use crate::outcome::ConnectFailure;
use crate::stream_io::StreamIo;
use ambit_hbone::io::{
    DialError, OpenError, Stage, Stream, StreamInlet, StreamOutlet, TunnelKey, TunnelLife,
};
use ambit_hbone::wire::{ConnectRequest, Forwarded};
use ambit_net::relay::TcpEndpoint;
use ambit_net::socket::{DialError as TcpError, DialSpec};
use http::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

/// An established connection, not yet spoken on.
pub(crate) enum Connection {
    /// In a tunnel.
    Hbone(Stream),
    /// Plain TCP.
    Tcp(TcpEndpoint),
}

/// Connects. `client`: whose bytes will flow, if they are one client's.
pub(crate) async fn connect(
    upstreams: &Upstreams,
    target: &Target,
    client: Option<SocketAddr>,
) -> Result<Connection, ConnectFailure> {
    let limit = target.cluster.connect_timeout;
    let connected = async {
        if target.is_tunnelled() {
            tunnelled(upstreams, target, client)
                .await
                .map(Connection::Hbone)
        } else {
            let also = target.also.iter();
            let others = also.map(|ip| SocketAddr::new(*ip, target.address.port()));
            let all = std::iter::once(target.address).chain(others);
            let stream = race::first(all, |to| dial(to, limit))
                .await
                .map_err(|e| tcp_failure(target, &e))?;
            Ok(Connection::Tcp(TcpEndpoint(stream)))
        }
    };
    tokio::time::timeout(limit, connected)
        .await
        .unwrap_or(Err(ConnectFailure::Timeout))
}

async fn tunnelled(
    upstreams: &Upstreams,
    target: &Target,
    client: Option<SocketAddr>,
) -> Result<Stream, ConnectFailure> {
    let svid = upstreams.svid().ok_or(ConnectFailure::Identity)?;
    let to = target.tunnel();
    let key = TunnelKey {
        source: upstreams.me.identity.clone(),
        expected: target.expected.clone(),
        to,
        from: 0,
    };
    let mut request = ConnectRequest::new(target.address.into());
    request.baggage.clone_from(&upstreams.me.baggage);
    request.source = Some(HeaderValue::from_static(source(upstreams)));
    request.forwarded = client.map(|client| Forwarded {
        client,
        host: Some(target.cluster.service.hostname.as_ref().into()),
    });
    let limit = target.cluster.connect_timeout;
    let opened = upstreams
        .tunnels
        .open(&key, &svid, || dial(to, limit), &request)
        .await;
    match opened {
        Ok(opened) => Ok(opened.stream),
        Err(error) => {
            let failure = tunnel_failure(&error);
            tracing::debug!(
                dst.addr = %target.address,
                workload = %target.workload.uid,
                error = ambit_runtime::causes::causes(&error),
                "no stream to the endpoint"
            );
            Err(failure)
        }
    }
}

/// What we are, in Istio's words (`x-istio-source`).
fn source(upstreams: &Upstreams) -> &'static str {
    match upstreams.state.load().plaintext_ports() {
        [] => "waypoint",
        _ => "gateway",
    }
}

async fn dial(to: SocketAddr, limit: Duration) -> Result<TcpStream, TcpError> {
    DialSpec::new(to, limit).dial().await
}

fn tcp_failure(target: &Target, error: &TcpError) -> ConnectFailure {
    tracing::debug!(
        dst.addr = %target.address,
        workload = %target.workload.uid,
        error = ambit_runtime::causes::causes(error),
        "no connection to the endpoint"
    );
    match error {
        TcpError::Timeout { .. } => ConnectFailure::Timeout,
        TcpError::Socket { .. } | TcpError::Connect { .. } => ConnectFailure::Dial,
    }
}

fn tunnel_failure(error: &OpenError) -> ConnectFailure {
    use ambit_hbone::io::ConnectError;
    match error {
        OpenError::Dial(dial) => match &**dial {
            DialError::Tls(_)
            | DialError::Timeout {
                stage: Stage::Tls, ..
            } => ConnectFailure::Tls,
            DialError::Timeout { .. } => ConnectFailure::Timeout,
            DialError::Connect(_)
            | DialError::H2(_)
            | DialError::NoStreams
            | DialError::Stopped => ConnectFailure::Dial,
        },
        OpenError::Connect(ConnectError::Timeout { .. }) => ConnectFailure::Timeout,
        OpenError::Connect(ConnectError::Refused { .. }) => ConnectFailure::Refused,
        OpenError::Connect(
            ConnectError::Reset { .. } | ConnectError::Unprocessed(_) | ConnectError::Tunnel(_),
        ) => ConnectFailure::Dial,
    }
}

/// What a connection runs on.
#[derive(Clone)]
pub(crate) enum Beneath {
    /// A tunnel, whose peer may leave long before the connection ends.
    Tunnel(TunnelLife),
    /// Nothing that ends earlier than the connection.
    Tcp,
}

impl Beneath {
    /// Whether another request may begin.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            Self::Tunnel(life) => life.takes_streams(),
            Self::Tcp => true,
        }
    }
}

impl Connection {
    /// What it runs on.
    pub(crate) fn beneath(&self) -> Beneath {
        match self {
            Self::Hbone(stream) => stream.life().map_or(Beneath::Tcp, Beneath::Tunnel),
            Self::Tcp(_) => Beneath::Tcp,
        }
    }

    /// Whom it leads to.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Hbone(_) => None,
            Self::Tcp(TcpEndpoint(stream)) => stream.peer_addr().ok(),
        }
    }

    /// As hyper wants it.
    pub(crate) fn into_io(self) -> UpstreamIo {
        match self {
            Self::Hbone(stream) => UpstreamIo::Hbone(StreamIo::new(stream)),
            Self::Tcp(TcpEndpoint(stream)) => UpstreamIo::Tcp(TokioIo::new(stream)),
        }
    }
}

/// A connection hyper can speak on.
pub(crate) enum UpstreamIo {
    /// In a tunnel.
    Hbone(StreamIo<StreamInlet, StreamOutlet>),
    /// Plain TCP.
    Tcp(TokioIo<TcpStream>),
}

impl Read for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Hbone(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl Write for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Hbone(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Hbone(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Hbone(io) => Pin::new(io).poll_flush(cx),
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Hbone(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
