//! `traceparent`: correlates the log lines of both proxies.
//! Spec: W3C Trace Context section 3.2, version 00; later versions are read as 00.

use http::HeaderValue;
use std::fmt;

/// Trace and span of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traceparent {
    /// Trace id, not 0.
    pub trace: u128,
    /// Parent span id, not 0.
    pub parent: u64,
    /// Flags; bit 0 is "sampled".
    pub flags: u8,
}

impl Traceparent {
    /// Reads a header; `None` for anything malformed.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let parent = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || trace == 0 || parent == 0 {
            return None;
        }
        Some(Self {
            trace,
            parent: u64::try_from(parent).ok()?,
            flags: u8::try_from(flags).ok()?,
        })
    }

    /// Writes the header.
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("hexadecimal digits and dashes")
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            parent,
            flags,
        } = self;
        write!(f, "00-{trace:032x}-{parent:016x}-{flags:02x}")
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != digits || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_well_formed_headers_parse() {
        assert_eq!(Traceparent::parse(GOOD).unwrap().to_string(), GOOD);
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for bad in [
            "",
            "-",
            "---",
            &GOOD[..54],
            &GOOD[3..],
            &GOOD.to_uppercase(),
            &GOOD.replace("00-0a", "ff-0a"),
            &format!("{GOOD}-x"),
            zero_trace,
            // 55 characters without the dashes.
            "00000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(Traceparent::parse(bad), None, "{bad}");
        }
        let later = format!("{}-x", GOOD.replacen("00", "01", 1));
        assert!(Traceparent::parse(&later).is_some());
    }

    proptest! {
        #[test]
        fn ids_round_trip(trace in 1..=u128::MAX, parent in 1..=u64::MAX, flags: u8) {
            let made = Traceparent { trace, parent, flags };
            prop_assert_eq!(Traceparent::parse(&made.to_string()), Some(made));
            prop_assert_eq!(made.to_header(), made.to_string());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Traceparent::parse(&text);
        }
    }
}
