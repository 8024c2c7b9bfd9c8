//! The one message of a call.
//! In: a stream of messages as the gRPC library reads it. Out: its only one, or why there is none.
//! Must not happen here: what the caller learns of it.
//! Spec: gRPC over HTTP/2; on the wire a unary call is a stream of one message.

use std::time::Duration;
use thiserror::Error;
use tonic::{Status, Streaming};

/// Why a call has no message.
#[derive(Debug, Error)]
pub(super) enum Unread {
    /// No protobuf, a broken frame, or one longer than the limit.
    #[error("the message cannot be read")]
    Malformed(#[source] Status),
    /// The call ends before one.
    #[error("there is no message")]
    Missing,
    /// The call goes on after it.
    #[error("there is more than one message")]
    Second,
    /// It takes too long.
    #[error("the message is not there after {0:?}")]
    Late(Duration),
    /// The connection broke.
    #[error("the caller is gone")]
    Gone(#[source] Status),
}

impl Unread {
    fn of(status: Status) -> Self {
        // An error of the transport has a source; one of the decoder has none.
        if std::error::Error::source(&status).is_some() {
            Self::Gone(status)
        } else {
            Self::Malformed(status)
        }
    }
}

/// Reads a call to its end, which must be there in time.
pub(super) async fn only<T>(mut messages: Streaming<T>, within: Duration) -> Result<T, Unread> {
    let read = async {
        let first = messages.message().await.map_err(Unread::of)?;
        let first = first.ok_or(Unread::Missing)?;
        match messages.message().await.map_err(Unread::of)? {
            None => Ok(first),
            Some(_) => Err(Unread::Second),
        }
    };
    let read = tokio::time::timeout(within, read).await;
    read.unwrap_or(Err(Unread::Late(within)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_api::ca::IstioCertificateRequest;
    use bytes::Bytes;
    use http_body::{Body, Frame};
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use std::io;
    use tonic_prost::ProstDecoder;

    /// `csr: "a"`, as gRPC sends it.
    const GOOD: &[u8] = b"\0\0\0\0\x03\x0a\x01a";
    const LIMIT: usize = 100;
    const SOON: Duration = Duration::from_secs(20);

    async fn read<B>(body: B, within: Duration) -> Result<IstioCertificateRequest, Unread>
    where
        B: Body<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
    {
        let decoder = ProstDecoder::default();
        let messages = Streaming::new_request(decoder, body, None, Some(LIMIT));
        only(messages, within).await
    }

    async fn said(bytes: impl Into<Bytes>) -> Result<IstioCertificateRequest, Unread> {
        read(Full::new(bytes.into()), SOON).await
    }

    #[tokio::test]
    async fn one_message_is_read_and_nothing_else_is() {
        assert_eq!(said(GOOD).await.unwrap().csr, "a");
        assert!(matches!(said(&b""[..]).await, Err(Unread::Missing)));
        assert!(matches!(said(GOOD.repeat(2)).await, Err(Unread::Second)));
        let malformed: [&[u8]; 8] = [
            b"\0\0\0\0\x05\xff\xff\xff\xff\xff",
            b"\0\0\0\0\x02\x0a\x7f",
            b"\0\0\0\0\x09\x0a\x01",
            b"\0\0\0",
            b"\0\0\0\0\x65",
            b"\0\xff\xff\xff\xff\x0a",
            b"\x01\0\0\0\x01a",
            b"\x07\0\0\0\x01a",
        ];
        for bytes in malformed {
            let read = said(bytes).await;
            assert!(matches!(read, Err(Unread::Malformed(_))), "{read:?}");
        }
        let trailing = said([GOOD, b"\0"].concat()).await;
        assert!(matches!(trailing, Err(Unread::Malformed(_))));
    }

    #[tokio::test]
    async fn a_broken_connection_is_no_malformed_message() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"\0"))),
            Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        ];
        let body = StreamBody::new(tokio_stream::iter(frames));
        let read = read(body, SOON).await;
        assert!(matches!(read, Err(Unread::Gone(_))), "{read:?}");
    }

    #[tokio::test]
    async fn a_message_without_an_end_is_given_up() {
        let body = Full::new(Bytes::from_static(GOOD)).with_trailers(std::future::pending());
        let read = read(body, Duration::ZERO).await;
        assert!(matches!(read, Err(Unread::Late(_))), "{read:?}");
    }
}
