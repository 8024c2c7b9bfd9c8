//! Header changes of a route or a destination: removals first, then `set`, then `add`.
//! The authority is not a header here; whoever owns the request line applies it.

use ambit_model::route::HeaderOps;
use http::HeaderMap;

/// Applies `ops` to `headers`.
pub fn apply(ops: &HeaderOps, headers: &mut HeaderMap) {
    for name in &ops.remove {
        headers.remove(name);
    }
    for (name, value) in &ops.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &ops.add {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn removals_come_first_and_add_keeps_what_is_there() {
        let pair = |n: &'static str, v: &'static str| {
            (HeaderName::from_static(n), HeaderValue::from_static(v))
        };
        let ops = HeaderOps {
            set: vec![pair("a", "set")],
            add: vec![pair("b", "added"), pair("gone", "back")],
            remove: vec![HeaderName::from_static("gone")],
            ..Default::default()
        };
        let mut headers: HeaderMap = [pair("a", "1"), pair("b", "2"), pair("gone", "3")]
            .into_iter()
            .collect();
        headers.append("a", HeaderValue::from_static("one more"));
        apply(&ops, &mut headers);
        let values = |n: &str| {
            headers
                .get_all(n)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(values("a"), ["set"]);
        assert_eq!(values("b"), ["2", "added"]);
        assert_eq!(values("gone"), ["back"]);
    }
}
