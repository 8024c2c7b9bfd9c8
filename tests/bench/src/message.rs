//! The one HTTP/1.1 exchange of the bench. Pure.
//! In: who answers whom. Out: request and response bytes of fixed length; the answer read back.
//! A path that is measured here must not change a byte, so everything but the 128-byte body is compared.
//! Spec: RFC 9112.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

/// Asks for one answer on a connection that stays open.
pub(crate) const KEEP: &[u8] =
    b"GET /item HTTP/1.1\r\nHost: bench\r\nUser-Agent: ambit-bench\r\n\r\n";
/// Asks for one answer and the end of the connection.
pub(crate) const CLOSE: &[u8] =
    b"GET /item HTTP/1.1\r\nHost: bench\r\nUser-Agent: ambit-bench\r\nConnection: close\r\n\r\n";
/// Length of a body.
pub(crate) const BODY: usize = 128;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n";
/// Length of a whole response.
pub(crate) const RESPONSE: usize = HEAD.len() + BODY;

/// Who answered whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Name of the server
    pub(crate) server: String,
    /// The address it was reached at
    pub(crate) local: SocketAddr,
    /// The client as it sees it
    pub(crate) peer: SocketAddr,
}

impl Answer {
    /// The body's text.
    pub(crate) fn text(&self) -> String {
        format!("{} {} {} ", self.server, self.local, self.peer)
    }

    /// Reads [`Self::text`]; what follows is left alone.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next().context("an answer that ends too early");
        Ok(Self {
            server: word()?.to_owned(),
            local: word()?.parse().context("own address in an answer")?,
            peer: word()?.parse().context("peer address in an answer")?,
        })
    }

    /// The whole response.
    pub(crate) fn response(&self) -> [u8; RESPONSE] {
        let mut bytes = [b'.'; RESPONSE];
        bytes[..HEAD.len()].copy_from_slice(HEAD);
        let text = self.text();
        let text = &text.as_bytes()[..text.len().min(BODY)];
        bytes[HEAD.len()..][..text.len()].copy_from_slice(text);
        bytes
    }

    /// Reads [`Self::response`].
    ///
    /// # Errors
    /// The head is not byte for byte what was sent, or the body no answer.
    pub(crate) fn from_response(bytes: &[u8; RESPONSE]) -> anyhow::Result<Self> {
        let (head, body) = bytes.split_at(HEAD.len());
        ensure!(
            head == HEAD,
            "a changed response: {:?}",
            String::from_utf8_lossy(head)
        );
        Self::parse(std::str::from_utf8(body).context("a body that is no text")?)
    }
}

/// The end of the first request in `bytes` and whether the connection is to stay open.
///
/// # Errors
/// It is neither of the two requests.
pub(crate) fn request(bytes: &[u8]) -> anyhow::Result<Option<(usize, bool)>> {
    for (known, keep) in [(KEEP, true), (CLOSE, false)] {
        if bytes.starts_with(known) {
            return Ok(Some((known.len(), keep)));
        }
    }
    ensure!(
        KEEP.starts_with(bytes) || CLOSE.starts_with(bytes),
        "a changed request: {:?}",
        String::from_utf8_lossy(bytes)
    );
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            server: "bench-mesh/server".into(),
            local: "10.244.2.2:9002".parse().unwrap(),
            peer: "10.244.1.2:40000".parse().unwrap(),
        }
    }

    #[test]
    fn a_response_reads_back_and_a_changed_one_does_not() {
        let mut bytes = answer().response();
        assert_eq!(Answer::from_response(&bytes).unwrap(), answer());
        bytes[10] ^= 1;
        assert!(Answer::from_response(&bytes).is_err());
    }

    #[test]
    fn requests_are_recognised_whole_split_and_changed() {
        assert_eq!(request(KEEP).unwrap(), Some((KEEP.len(), true)));
        assert_eq!(request(CLOSE).unwrap(), Some((CLOSE.len(), false)));
        assert_eq!(request(&KEEP[..20]).unwrap(), None);
        assert_eq!(request(b"").unwrap(), None);
        assert!(request(b"GET /other").is_err());
    }
}
