//! Routes: which path and method is answered by which handler. No IO.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

/// One request with its body read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path without query, as sent.
    pub path: String,
    /// Query parameters in order, percent-decoded; a parameter without `=` has an empty value.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most 1 MiB.
    pub body: Bytes,
    /// The other end, so that a handler can insist on loopback.
    pub peer: SocketAddr,
}

impl Request {
    /// First value of a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Token of `Authorization: Bearer <token>`.
    pub fn bearer(&self) -> Option<&str> {
        let value = self
            .headers
            .get(http::header::AUTHORIZATION)?
            .to_str()
            .ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// 200 with text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::bytes("text/plain; charset=utf-8", body)
    }

    /// 200 with JSON that the caller has serialised.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::bytes("application/json", body)
    }

    /// 200 with any type.
    pub fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: body.into(),
        }
    }

    /// Any status with text.
    pub fn error(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// The routes of one server. `GET /` lists them.
#[derive(Clone, Default)]
pub struct Routes {
    exact: BTreeMap<String, Vec<Entry>>,
    prefix: BTreeMap<String, Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    method: Method,
    about: &'static str,
    handler: Handler,
}

impl Routes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// `GET` (and `HEAD`) of exactly this path, answered at once. `about` is one line for the index.
    pub fn get<F>(self, path: &str, about: &'static str, handler: F) -> Self
    where
        F: Fn(Request) -> Reply + Send + Sync + 'static,
    {
        self.on(Method::GET, path, about, move |request| {
            std::future::ready(handler(request))
        })
    }

    /// `POST` of exactly this path, answered at once.
    pub fn post<F>(self, path: &str, about: &'static str, handler: F) -> Self
    where
        F: Fn(Request) -> Reply + Send + Sync + 'static,
    {
        self.on(Method::POST, path, about, move |request| {
            std::future::ready(handler(request))
        })
    }

    /// Any method, answered by a future. A path that ends in `/*` takes everything below it; the
    /// longest such prefix wins, an exact path wins over all prefixes.
    pub fn on<F, R>(mut self, method: Method, path: &str, about: &'static str, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let entry = Entry {
            method,
            about,
            handler: Arc::new(move |request| Box::pin(handler(request))),
        };
        match path.strip_suffix('*') {
            Some(prefix) => self
                .prefix
                .entry(prefix.to_owned())
                .or_default()
                .push(entry),
            None => self.exact.entry(path.to_owned()).or_default().push(entry),
        }
        self
    }

    pub(super) async fn answer(&self, request: Request) -> Reply {
        let entries = self.exact.get(&request.path).or_else(|| {
            self.prefix
                .iter()
                .rev()
                .find(|(prefix, _)| request.path.starts_with(prefix.as_str()))
                .map(|(_, entries)| entries)
        });
        let Some(entries) = entries else {
            return if request.path == "/" {
                self.index()
            } else {
                Reply::error(StatusCode::NOT_FOUND, "no such path\n")
            };
        };
        let method = match request.method {
            Method::HEAD => &Method::GET,
            ref other => other,
        };
        match entries.iter().find(|entry| entry.method == *method) {
            Some(entry) => (entry.handler)(request).await,
            None => Reply::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
        }
    }

    fn index(&self) -> Reply {
        let mut body = String::new();
        let paths = self.exact.iter().map(|(path, e)| (path, "", e));
        let prefixes = self.prefix.iter().map(|(path, e)| (path, "*", e));
        for (path, star, entries) in paths.chain(prefixes) {
            for entry in entries {
                let _ = writeln!(body, "{} {path}{star} - {}", entry.method, entry.about);
            }
        }
        Reply::text(body)
    }
}

/// Splits and decodes a query string. Wrong escapes stay as they are.
pub(super) fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (percent_decode(key), percent_decode(value))
        })
        .collect()
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |at: usize| {
        bytes
            .get(at)
            .and_then(|b| char::from(*b).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (byte, hex(at), hex(at + 1)) {
            (b'+', ..) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, path: &str) -> Request {
        Request {
            method,
            path: path.into(),
            query: vec![],
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: ([127, 0, 0, 1], 1).into(),
        }
    }

    #[tokio::test]
    async fn exact_wins_then_longest_prefix() {
        let routes = Routes::new()
            .get("/debug/*", "below", |_| Reply::text("debug"))
            .get("/debug/pprof/*", "deeper", |_| Reply::text("pprof"))
            .get("/debug/syncz", "exact", |_| Reply::text("syncz"));
        for (path, body) in [
            ("/debug/syncz", "syncz"),
            ("/debug/x", "debug"),
            ("/debug/pprof/heap", "pprof"),
        ] {
            let reply = routes.answer(request(Method::GET, path)).await;
            assert_eq!(reply.body, body.as_bytes(), "{path}");
        }
        assert_eq!(routes.answer(request(Method::GET, "/no")).await.status, 404);
        assert_eq!(
            routes
                .answer(request(Method::POST, "/debug/syncz"))
                .await
                .status,
            405
        );
        let index = routes.answer(request(Method::GET, "/")).await;
        assert!(
            std::str::from_utf8(&index.body)
                .unwrap()
                .contains("GET /debug/syncz - exact")
        );
    }

    #[test]
    fn queries_are_decoded() {
        assert_eq!(
            parse_query("level=a%3Ddebug&reset&x=%zz%4&y=1+2"),
            [
                ("level", "a=debug"),
                ("reset", ""),
                ("x", "%zz%4"),
                ("y", "1 2")
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }
}
