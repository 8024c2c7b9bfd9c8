//! What arrived: pages of every service that show a request as the service received it.
//! In: `/echo` and every path below, steered by the query: `count=<key>` counts the request under a
//! key, `fail=<n>` answers 503 to the first n of that key, `status=<code>` answers that code,
//! `ms=<n>` waits first. `/counted?count=<key>` reads a count. Out: JSON.
//! Owns: the counts, at most [`KEYS`] of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{json, query_value};

/// Most keys that are counted.
const KEYS: usize = 1024;
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Requests by key.
#[derive(Default)]
pub(crate) struct Echo(Mutex<BTreeMap<String, u64>>);

impl Echo {
    /// Whether this path is one of its pages.
    pub(crate) fn serves(path: &str) -> bool {
        path == "/counted" || path == "/echo" || path.starts_with("/echo/")
    }

    /// Answers one request with a body of `received` bytes.
    pub(crate) async fn answer(&self, head: &Parts, received: usize) -> Response<Bytes> {
        let query = head.uri.query();
        let key = query_value(query, "count");
        if head.uri.path() == "/counted" {
            let count = key.map_or(0, |key| self.count(key));
            return json(StatusCode::OK, &json!({ "count": count }));
        }
        let count = key.and_then(|key| self.add(key));
        let number = |name| query_value(query, name).and_then(|n| n.parse::<u64>().ok());
        if let Some(ms) = number("ms") {
            tokio::time::sleep(Duration::from_millis(ms).min(LONGEST)).await;
        }
        let failing = count.is_some_and(|count| count <= number("fail").unwrap_or(0));
        let asked = query_value(query, "status").and_then(|code| code.parse().ok());
        let status = match asked {
            _ if failing => StatusCode::SERVICE_UNAVAILABLE,
            Some(status) => status,
            None => StatusCode::OK,
        };
        json(status, &shown(head, received, count))
    }

    fn count(&self, key: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(key).copied().unwrap_or(0)
    }

    /// The count with this request; `None` when there are too many keys.
    fn add(&self, key: &str) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= KEYS && !counts.contains_key(key) {
            return None;
        }
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        Some(*count)
    }
}

/// The request as JSON; several values of one header are joined with commas.
fn shown(head: &Parts, received: usize, count: Option<u64>) -> Value {
    let mut headers = Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        headers.insert(name.as_str().to_owned(), values.join(",").into());
    }
    json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |p| p.as_str()),
        "headers": headers,
        "received": received,
        "count": count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    async fn ask(echo: &Echo, uri: &str) -> (StatusCode, Value) {
        let request = Request::get(uri).header("a", "1").header("a", "2").body(());
        let (head, ()) = request.unwrap().into_parts();
        let answer = echo.answer(&head, 3).await;
        let body = serde_json::from_slice(answer.body()).unwrap();
        (answer.status(), body)
    }

    #[tokio::test]
    async fn it_shows_what_arrived_and_fails_as_often_as_asked() {
        let echo = Echo::default();
        let (status, body) = ask(&echo, "/echo/x?y=1").await;
        assert_eq!(
            (status, &body["path"]),
            (StatusCode::OK, &json!("/echo/x?y=1"))
        );
        assert_eq!(
            (&body["headers"]["a"], &body["received"]),
            (&json!("1,2"), &json!(3))
        );
        for expected in [503, 503, 200] {
            let (status, _) = ask(&echo, "/echo?count=k&fail=2").await;
            assert_eq!(status.as_u16(), expected);
        }
        assert_eq!(ask(&echo, "/counted?count=k").await.1["count"], 3);
        assert_eq!(ask(&echo, "/echo?status=418").await.0.as_u16(), 418);
        assert!(Echo::serves("/echo/a") && !Echo::serves("/echoes"));
    }
}
