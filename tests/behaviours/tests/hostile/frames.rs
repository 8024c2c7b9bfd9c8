//! HTTP/2 frames as bytes, for what no library sends. RFC 9113 section 4.1, RFC 7541 section 6.2.2.

/// The client's preface and empty SETTINGS.
pub(crate) const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Flag of a header block without continuation.
pub(crate) const END_HEADERS: u8 = 4;
/// Code of a stream that was not looked at.
pub(crate) const REFUSED_STREAM: u32 = 7;

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Headers = 1,
    Reset = 3,
    GoAway = 7,
    Continuation = 9,
}

/// One frame.
pub(crate) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames of tests are short");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind as u8, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header block of a CONNECT.
pub(crate) fn connect(authority: &str) -> Vec<u8> {
    // Static table: 2 is `:method`, 1 is `:authority`.
    [literal(2, b"CONNECT"), literal(1, authority.as_bytes())].concat()
}

/// A header that is not in the table.
pub(crate) fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(text(name.as_bytes()));
    bytes.extend(text(value));
    bytes
}

fn literal(name: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name];
    bytes.extend(text(value));
    bytes
}

/// Without Huffman code, at most 126 bytes.
fn text(value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|n| *n < 127);
    let mut bytes = vec![length.expect("texts of tests are short")];
    bytes.extend(value);
    bytes
}

/// The whole frames of `bytes`: kind, stream, payload.
pub(crate) fn parse(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _flags, s @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (Some(stream), Some(payload)) = (s.first_chunk::<4>(), s.get(4..4 + length)) else {
            break;
        };
        frames.push((*kind, u32::from_be_bytes(*stream), payload.to_vec()));
        bytes = &s[4 + length..];
    }
    frames
}
