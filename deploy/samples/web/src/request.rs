//! A request, whole.
//! In: hyper's request. Out: its head, body and the address it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// A request with its whole body.
#[derive(Debug)]
pub struct Request {
    /// Method, target, headers
    pub head: Parts,
    /// At most [`crate::server::BODY_LIMIT`] bytes
    pub body: Bytes,
    /// Where it came from
    pub peer: SocketAddr,
}

impl Request {
    /// Values of the query by name; a name that comes twice has two.
    #[must_use]
    pub fn query(&self) -> BTreeMap<String, Vec<String>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self
            .head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values
                .entry(unescape(name))
                .or_default()
                .push(unescape(value));
        }
        values
    }

    /// The first value of a name in the query.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        self.query().remove(name)?.into_iter().next()
    }
}

/// Undoes `%41` and `+`; what is not a good escape stays as it is.
#[must_use]
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .filter(|two| *byte == b'%' && two.iter().all(u8::is_ascii_hexdigit))
            .and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match escaped {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An answer with a text.
#[must_use]
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    answer(status, "text/plain; charset=utf-8", text)
}

/// An answer with JSON.
#[must_use]
pub fn json(value: &Value) -> Response<Bytes> {
    let mut body = serde_json::to_string_pretty(value).unwrap_or_default();
    body.push('\n');
    answer(StatusCode::OK, "application/json; charset=utf-8", body)
}

/// An answer with a body of some type.
#[must_use]
pub fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_undone_and_bad_ones_kept() {
        assert_eq!(unescape("a%20b+c"), "a b c");
        for bad in ["%", "%4", "%zz", "%+1"] {
            assert_eq!(unescape(bad), bad.replace('+', " "), "{bad}");
        }
    }
}
