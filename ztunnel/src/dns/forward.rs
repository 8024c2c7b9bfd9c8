//! Asks a real nameserver on behalf of a pod, from the pod's namespace.
//! In: the query as it came. Out: the answer as it came, once it is one to that query.
//! Our own sockets are exempt from capture (by cgroup, or by their mark where netfilter redirects), so this
//! is no loop. Deadline: 5 s; a datagram is sent again once.

use super::message::{self, Question, Transport};
use crate::names::Resolved;
use crate::pod::Pod;
use ambit_net::socket::{DialError, DialSpec, ListenError, ListenSpec};
use hickory_proto::rr::RecordType;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Why the nameserver gave no answer.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// No socket could be made in the pod's namespace.
    #[error("no socket for DNS")]
    Socket(#[source] ListenError),
    /// Over TCP, it cannot be reached.
    #[error("nameserver not reachable")]
    Dial(#[source] DialError),
    /// Sending or receiving failed.
    #[error("nameserver {server} failed")]
    Io {
        /// Which.
        server: IpAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("nameserver {server} did not answer")]
    Timeout {
        /// Which.
        server: IpAddr,
    },
    /// It answers that it cannot.
    #[error("nameserver {server} refused to answer")]
    Refused {
        /// Which.
        server: IpAddr,
    },
    /// What should be resolved is no name.
    #[error("not a name")]
    NoName,
    /// No nameserver is configured.
    #[error("no nameserver is configured")]
    NoServer,
}

/// Passes `query` on and returns the answer.
///
/// # Errors
/// See [`ForwardError`].
pub async fn forward(
    pod: &Pod,
    server: IpAddr,
    query: (&Question, &[u8]),
    transport: Transport,
) -> Result<Vec<u8>, ForwardError> {
    let asked = async {
        match transport {
            Transport::Udp => udp(pod, server, query).await,
            Transport::Tcp => tcp(pod, server, query).await,
        }
    };
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(ForwardError::Timeout { server }),
    }
}

/// Addresses of a hostname, from the first nameserver that answers; IPv4 first.
///
/// # Errors
/// Of the last one, see [`ForwardError`]. A name without addresses gives an empty list.
pub async fn resolve(
    pod: &Pod,
    servers: &[IpAddr],
    hostname: &str,
) -> Result<Resolved, ForwardError> {
    let absolute = format!("{}.", hostname.trim_end_matches('.'));
    let mut last = ForwardError::NoServer;
    for server in servers {
        let ask = |kind| ask(pod, *server, (&absolute, kind));
        match tokio::join!(ask(RecordType::A), ask(RecordType::AAAA)) {
            (Ok(v4), Ok(v6)) => return Ok(join(v4, v6)),
            // A server that knows one family only is enough.
            (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.addresses.is_empty() => {
                return Ok(some);
            }
            (Err(error), _) | (_, Err(error)) => last = error,
        }
    }
    Err(last)
}

/// What a caller says who has waited long enough.
pub fn too_late(servers: &[IpAddr]) -> ForwardError {
    match servers.first() {
        Some(server) => ForwardError::Timeout { server: *server },
        None => ForwardError::NoServer,
    }
}

async fn ask(
    pod: &Pod,
    server: IpAddr,
    (name, kind): (&str, RecordType),
) -> Result<Resolved, ForwardError> {
    let bytes = message::query(rand::random(), name, kind);
    let question = bytes.as_deref().and_then(Question::decode);
    let (Some(bytes), Some(question)) = (bytes, question) else {
        return Err(ForwardError::NoName);
    };
    let answer = forward(pod, server, (&question, &bytes), Transport::Udp).await?;
    message::resolved(&answer).ok_or(ForwardError::Refused { server })
}

fn join(mut v4: Resolved, v6: Resolved) -> Resolved {
    v4.ttl = match (v4.addresses.is_empty(), v6.addresses.is_empty()) {
        (false, true) => v4.ttl,
        (true, false) => v6.ttl,
        _ => v4.ttl.min(v6.ttl),
    };
    v4.addresses.extend(v6.addresses);
    v4
}

async fn udp(
    pod: &Pod,
    server: IpAddr,
    (question, bytes): (&Question, &[u8]),
) -> Result<Vec<u8>, ForwardError> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let spec = ListenSpec::new(SocketAddr::new(any, 0));
    let socket = spec.udp(Some(&pod.netns)).map_err(ForwardError::Socket)?;
    let failed = |source| ForwardError::Io { server, source };
    socket2::SockRef::from(&socket)
        .set_mark(pod.mark)
        .map_err(failed)?;
    let socket = UdpSocket::from_std(socket).map_err(failed)?;
    // Connected: the kernel drops datagrams of anybody else.
    socket.connect((server, PORT)).await.map_err(failed)?;
    let mut buffer = vec![0; MOST_ANSWER];
    for _ in 0..2 {
        socket.send(bytes).await.map_err(failed)?;
        let answered = async {
            loop {
                let len = socket.recv(&mut buffer).await?;
                if question.is_answered_by(&buffer[..len]) {
                    return Ok::<_, io::Error>(len);
                }
            }
        };
        if let Ok(len) = tokio::time::timeout(RESEND, answered).await {
            let len = len.map_err(failed)?;
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
    Err(ForwardError::Timeout { server })
}

async fn tcp(
    pod: &Pod,
    server: IpAddr,
    (question, bytes): (&Question, &[u8]),
) -> Result<Vec<u8>, ForwardError> {
    let mut spec = DialSpec::new(SocketAddr::new(server, PORT), DEADLINE).within(&pod.netns);
    spec.mark = Some(pod.mark);
    let mut stream = spec.dial().await.map_err(ForwardError::Dial)?;
    let failed = |source| ForwardError::Io { server, source };
    write_framed(&mut stream, bytes).await.map_err(failed)?;
    let answer = read_framed(&mut stream).await.map_err(failed)?;
    if question.is_answered_by(&answer) {
        Ok(answer)
    } else {
        Err(failed(io::ErrorKind::InvalidData.into()))
    }
}

/// Reads one message with its length in front (RFC 7766 section 8).
///
/// # Errors
/// As read(2); `UnexpectedEof` at the end of the stream.
pub async fn read_framed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(len)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes one message with its length in front, in one piece.
///
/// # Errors
/// As write(2); `InvalidInput` beyond 64 KiB.
pub async fn write_framed(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let len =
        u16::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut framed = Vec::with_capacity(2 + bytes.len());
    framed.extend(len.to_be_bytes());
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}

const PORT: u16 = 53;
const DEADLINE: Duration = Duration::from_secs(5);
const RESEND: Duration = Duration::from_secs(2);
const MOST_ANSWER: usize = 64 * 1024;
