//! The server name in a TLS ClientHello, looked at and left in place.
//! In: the first bytes of a client. Out: the name, if they are a ClientHello that has one.
//! Hostile bytes end in `None`; nothing is kept beyond one record.
//! Spec: RFC 8446 section 4.1.2, RFC 6066 section 3.

use crate::stream_io::HboneIo;
use std::time::Duration;

/// How long a client may take to send it: some servers speak first.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest record: its header, and 2^14 bytes.
const LONGEST: usize = 5 + (1 << 14);

/// Waits for the first record.
pub(super) async fn server_name(io: &mut HboneIo) -> Option<String> {
    let first = async {
        loop {
            let had = match read(io.ahead()) {
                Read::Name(name) => return name,
                Read::More => io.ahead().len(),
            };
            if io.peek(LONGEST).await.ok()?.len() == had {
                return None;
            }
        }
    };
    tokio::time::timeout(PATIENCE, first).await.ok().flatten()
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// Told; `None`: there is no name.
    Name(Option<String>),
    /// The record is not complete.
    More,
}

fn read(bytes: &[u8]) -> Read {
    let [kind, rest @ ..] = bytes else {
        return Read::More;
    };
    if *kind != 22 {
        return Read::Name(None);
    }
    let [_, _, high, low, body @ ..] = rest else {
        return Read::More;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST - 5 {
        return Read::Name(None);
    }
    match body.get(..length) {
        Some(record) => Read::Name(name(record)),
        None => Read::More,
    }
}

/// The name in a handshake record.
fn name(record: &[u8]) -> Option<String> {
    let mut hello = Bytes(record);
    if hello.take(1)? != [1] {
        return None;
    }
    let mut body = Bytes(hello.sized(3)?);
    // Version and random.
    body.take(34)?;
    let _session = body.sized(1)?;
    let _suites = body.sized(2)?;
    let _compression = body.sized(1)?;
    let mut extensions = Bytes(body.sized(2)?);
    loop {
        let kind = extensions.take(2)?;
        let content = extensions.sized(2)?;
        if kind == [0, 0] {
            let mut list = Bytes(Bytes(content).sized(2)?);
            if list.take(1)? != [0] {
                return None;
            }
            return String::from_utf8(list.sized(2)?.to_ascii_lowercase()).ok();
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// What a length of `n` bytes announces.
    fn sized(&mut self, n: usize) -> Option<&'a [u8]> {
        let length = self
            .take(n)?
            .iter()
            .fold(0, |sum, b| sum << 8 | usize::from(*b));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(width: usize, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[4 - width..], content].concat()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &sized(1, &[1; 32]),
            &sized(2, &[0x13, 1]),
            &sized(1, &[0]),
            &sized(2, extensions),
        ]
        .concat();
        let handshake = [&[1][..], &sized(3, &body)].concat();
        [&[22, 3, 1][..], &sized(2, &handshake)].concat()
    }

    fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[0, kind][..], &sized(2, content)].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        let entry = [&[0][..], &sized(2, name.as_bytes())].concat();
        let extensions = [extension(43, &[2, 3, 4]), extension(0, &sized(2, &entry))].concat();
        hello(&extensions)
    }

    #[test]
    fn the_name_is_found_and_every_beginning_asks_for_more() {
        let hello = named("DB.shop");
        assert_eq!(read(&hello), Read::Name(Some("db.shop".into())));
        for n in 0..hello.len() {
            assert_eq!(read(&hello[..n]), Read::More, "{n}");
        }
    }

    #[test]
    fn what_has_no_name_says_so() {
        assert_eq!(read(b"GET / HTTP/1.1"), Read::Name(None));
        assert_eq!(read(&hello(&extension(43, &[2, 3, 4]))), Read::Name(None));
        assert_eq!(read(&[22, 3, 1, 0xff, 0xff]), Read::Name(None), "too long");
    }

    #[test]
    fn a_lying_length_is_no_name() {
        let good = named("db");
        for at in 5..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                // Whatever it says, it says it without a panic.
                let _ = read(&bad);
            }
        }
    }
}
