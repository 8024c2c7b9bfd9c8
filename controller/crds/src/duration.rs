//! Durations as users write them: Istio's (Go syntax) and Gateway API's (GEP-2257).
//! Both become `std::time::Duration`; negative and absurd values are refused.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::time::Duration;
use thiserror::Error;

/// Why a text is no duration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DurationError {
    /// Not the syntax.
    #[error("`{0}` is not a duration such as 5s, 1.5s or 100ms")]
    Syntax(String),
    /// Negative.
    #[error("`{0}` is negative")]
    Negative(String),
    /// More than about 100 years.
    #[error("`{0}` is too long")]
    TooLong(String),
}

const LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Go syntax: one or more `<decimal><unit>` with units h, m, s, ms, us, ns; `0` alone is zero.
pub fn parse_istio(text: &str) -> Result<Duration, DurationError> {
    let shown = || text.chars().take(64).collect::<String>();
    let syntax = || DurationError::Syntax(shown());
    if let Some(rest) = text.strip_prefix('-') {
        return match parse_istio(rest) {
            Ok(_) => Err(DurationError::Negative(shown())),
            Err(_) => Err(syntax()),
        };
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (part, tail) = one_part(rest).ok_or_else(syntax)?;
        nanos = nanos
            .checked_add(part)
            .filter(|n| *n <= LIMIT.as_nanos())
            .ok_or_else(|| DurationError::TooLong(shown()))?;
        rest = tail;
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    let below = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    Ok(Duration::new(seconds, below))
}

/// Nanoseconds of the first `<decimal><unit>`, and what follows it.
fn one_part(text: &str) -> Option<(u128, &str)> {
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_len);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 30 {
        return None;
    }
    let unit_len = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_len);
    let scale: u128 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.saturating_mul(scale);
    let mut digit_scale = scale;
    for digit in fraction.bytes() {
        digit_scale /= 10;
        nanos = nanos.saturating_add(u128::from(digit - b'0') * digit_scale);
    }
    Some((nanos, rest))
}

/// GEP-2257: one to four of `<1-5 digits><h|m|s|ms>`, no fractions, no sign.
pub fn parse_gateway(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax(text.chars().take(64).collect());
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(syntax)?;
        parts += 1;
        if !(1..=5).contains(&digits) || parts > 4 {
            return Err(syntax());
        }
        let number: u64 = rest[..digits].parse().map_err(|_| syntax())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += match &rest[..unit] {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(syntax()),
        };
        rest = &rest[unit..];
    }
    if parts == 0 { Err(syntax()) } else { Ok(total) }
}

/// For `#[serde(deserialize_with)]` on an optional Istio duration.
pub(crate) fn istio<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    parse_istio(&text).map(Some).map_err(D::Error::custom)
}

/// For `#[serde(deserialize_with)]` on an optional Gateway API duration.
pub(crate) fn gateway<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    parse_gateway(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istio_durations() {
        for (text, ms) in [
            ("5s", 5000),
            ("1.5s", 1500),
            ("100ms", 100),
            ("1h2m3s", 3_723_000),
            ("0", 0),
            ("0s", 0),
            (".5s", 500),
            ("0.001s", 1),
        ] {
            assert_eq!(parse_istio(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_istio("2ns"), Ok(Duration::from_nanos(2)));
        for bad in ["", "5", "s", "1..5s", "5 s", "5d", "--5s", "é", "5sé", "."] {
            assert!(
                matches!(parse_istio(bad), Err(DurationError::Syntax(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            parse_istio("-5s"),
            Err(DurationError::Negative(_))
        ));
        assert!(matches!(
            parse_istio("99999999999999999999h"),
            Err(DurationError::TooLong(_))
        ));
    }

    #[test]
    fn gateway_durations() {
        assert_eq!(parse_gateway("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_gateway("0s"), Ok(Duration::ZERO));
        for bad in ["", "1.5s", "123456s", "-1s", "1h1m1s1ms1s", "10", "1us"] {
            assert!(parse_gateway(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,60}") {
            let _ = (parse_istio(&text), parse_gateway(&text));
        }

        #[test]
        fn milliseconds_survive(ms in 0u64..1_000_000_000) {
            let expected = Duration::from_millis(ms);
            proptest::prop_assert_eq!(parse_istio(&format!("{ms}ms")), Ok(expected));
            let seconds = format!("{}.{:03}s", ms / 1000, ms % 1000);
            proptest::prop_assert_eq!(parse_istio(&seconds), Ok(expected));
        }
    }
}
