//! What a stream speaks, told by its first bytes.
//! In: the bytes received so far. Out: a verdict, or "more". Pure.
//! Spec: RFC 9113 section 3.4 (the preface), RFC 9112 section 3 (the request line).

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1.x.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Something else.
    Bytes,
}

/// Bytes after which a verdict is always reached.
pub(crate) const ENOUGH: usize = 24;

const PREFACE: &[u8; ENOUGH] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest method taken for one.
const LONGEST_METHOD: usize = 20;

/// `None`: more bytes are needed.
pub(crate) fn tell(bytes: &[u8]) -> Option<Spoken> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.starts_with(PREFACE) {
        return Some(Spoken::Http2);
    }
    if PREFACE.starts_with(bytes) {
        return None;
    }
    // A method, a blank and the beginning of a target.
    let method = bytes
        .iter()
        .take_while(|b| b.is_ascii_uppercase() || **b == b'-')
        .count();
    match (bytes.get(method), bytes.get(method + 1)) {
        _ if method > LONGEST_METHOD => Some(Spoken::Bytes),
        (None, _) => None,
        (Some(b' '), None) if method > 0 => None,
        (Some(b' '), Some(b'/' | b'*' | b'h' | b'H')) if method > 0 => Some(Spoken::Http1),
        _ => Some(Spoken::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_is_spoken() {
        let table: [(&[u8], Option<Spoken>); 12] = [
            (b"", None),
            (b"G", None),
            (b"GET ", None),
            (b"GET /", Some(Spoken::Http1)),
            (b"OPTIONS *", Some(Spoken::Http1)),
            (b"GET http://x/", Some(Spoken::Http1)),
            (b"PRI * HTTP/2.0\r\n", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PRI * HTTP/3", Some(Spoken::Http1)),
            (b"\x16\x03\x01", Some(Spoken::Bytes)),
            (b"EHLO x", Some(Spoken::Bytes)),
            (b"ABCDEFGHIJKLMNOPQRSTUVWX", Some(Spoken::Bytes)),
        ];
        for (bytes, expected) in table {
            assert_eq!(tell(bytes), expected, "{bytes:?}");
        }
        for n in 0..=ENOUGH {
            assert!(n < ENOUGH || tell(&vec![b'A'; n]).is_some());
        }
    }
}
