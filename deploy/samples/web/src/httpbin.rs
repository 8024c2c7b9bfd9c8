//! httpbin: requests shown as they arrived, answers as they are asked for.
//! In: any method on the public service's paths. Out: its JSON (one value per header and argument as a
//! text, several as a list). Never here: what follows redirects, sets cookies or authenticates for real.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use rand::Rng as _;
use serde_json::{Map, Value, json};

use crate::request::{self, Request, text};
use crate::server::App;

/// Longest `/delay`, as the public service has it.
const LONGEST: Duration = Duration::from_secs(10);
/// Largest `/bytes`.
const LARGEST: usize = 100 * 1024;
/// Most steps of `/redirect`.
const STEPS: u32 = 100;

/// The sample.
#[derive(Clone, Debug)]
pub struct Httpbin {
    instance: String,
}

impl Httpbin {
    /// `instance`: what `/hostname` answers.
    #[must_use]
    pub fn new(instance: String) -> Self {
        Self { instance }
    }
}

impl App for Httpbin {
    async fn answer(&self, request: Request) -> Response<Bytes> {
        let path = request.head.uri.path().trim_matches('/').to_owned();
        let mut parts = path.split('/');
        let (page, argument) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        match page {
            "" => text(StatusCode::OK, "httpbin\n"),
            "get" | "post" | "put" | "patch" | "delete" => method(page, &request),
            "anything" => request::json(&shown(&request)),
            "headers" => request::json(&json!({"headers": headers(&request.head.headers)})),
            "ip" => request::json(&json!({"origin": request.peer.ip().to_canonical().to_string()})),
            "user-agent" => {
                let agent = request
                    .head
                    .headers
                    .get(header::USER_AGENT)
                    .map(value)
                    .unwrap_or_default();
                request::json(&json!({"user-agent": agent}))
            }
            "hostname" => request::json(&json!({"hostname": self.instance})),
            "uuid" => request::json(&json!({"uuid": uuid()})),
            "status" => status(argument),
            "delay" => delay(argument, &request).await,
            "bytes" => bytes(argument),
            "redirect" | "relative-redirect" => redirect(argument),
            "redirect-to" => redirect_to(&request),
            "response-headers" => response_headers(&request),
            "base64" => decode(argument),
            "cookies" => request::json(&json!({"cookies": cookies(&request.head.headers)})),
            "basic-auth" => basic(argument, parts.next().unwrap_or_default(), &request),
            "bearer" => bearer(&request),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

/// Pages that are named as the only method they take.
fn method(page: &str, request: &Request) -> Response<Bytes> {
    let head = request.head.method == "HEAD" && page == "get";
    if head || request.head.method.as_str().eq_ignore_ascii_case(page) {
        return request::json(&shown(request));
    }
    text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
}

/// The whole request as JSON.
fn shown(request: &Request) -> Value {
    let args: Map<String, Value> = request
        .query()
        .into_iter()
        .map(|(name, values)| (name, listed(values)))
        .collect();
    let host = request.head.headers.get(header::HOST).map(value);
    let host = host
        .or_else(|| request.head.uri.authority().map(ToString::to_string))
        .unwrap_or_default();
    let path = request
        .head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let body = String::from_utf8_lossy(&request.body).into_owned();
    json!({
        "args": args,
        "headers": headers(&request.head.headers),
        "method": request.head.method.as_str(),
        "origin": request.peer.ip().to_canonical().to_string(),
        "url": format!("http://{host}{path}"),
        "json": serde_json::from_str::<Value>(&body).unwrap_or(Value::Null),
        "data": body,
    })
}

fn headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(value).collect();
        shown.insert(canonical(name), listed(values));
    }
    Value::Object(shown)
}

/// `x-request-id` as the public service writes it: `X-Request-Id`.
fn canonical(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    });
    words.collect::<Vec<_>>().join("-")
}

fn listed(mut values: Vec<String>) -> Value {
    if values.len() == 1 {
        Value::String(values.remove(0))
    } else {
        json!(values)
    }
}

fn value(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `/status/503`, or one of `/status/200,503` at random.
fn status(argument: &str) -> Response<Bytes> {
    let codes: Option<Vec<StatusCode>> =
        argument.split(',').map(|code| code.parse().ok()).collect();
    match codes {
        Some(codes) if !codes.is_empty() => text(
            codes[rand::rng().random_range(0..codes.len())],
            Bytes::new(),
        ),
        _ => text(StatusCode::BAD_REQUEST, "invalid status\n"),
    }
}

async fn delay(argument: &str, request: &Request) -> Response<Bytes> {
    match argument.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 && seconds.is_finite() => {
            let asked = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
            tokio::time::sleep(asked.min(LONGEST)).await;
            request::json(&shown(request))
        }
        _ => text(StatusCode::BAD_REQUEST, "invalid delay\n"),
    }
}

fn bytes(argument: &str) -> Response<Bytes> {
    let Ok(count) = argument.parse::<usize>() else {
        return text(StatusCode::BAD_REQUEST, "invalid number\n");
    };
    let mut body = vec![0; count.min(LARGEST)];
    rand::rng().fill(body.as_mut_slice());
    request::answer(StatusCode::OK, "application/octet-stream", body)
}

fn redirect(argument: &str) -> Response<Bytes> {
    match argument.parse::<u32>() {
        Ok(1) => found("/get"),
        Ok(steps @ 2..=STEPS) => found(&format!("/redirect/{}", steps - 1)),
        _ => text(StatusCode::BAD_REQUEST, "invalid number\n"),
    }
}

fn redirect_to(request: &Request) -> Response<Bytes> {
    match request.value("url") {
        Some(url) => found(&url),
        None => text(StatusCode::BAD_REQUEST, "url is missing\n"),
    }
}

fn found(place: &str) -> Response<Bytes> {
    let Ok(place) = HeaderValue::from_str(place) else {
        return text(StatusCode::BAD_REQUEST, "invalid url\n");
    };
    let mut response = text(StatusCode::FOUND, Bytes::new());
    response.headers_mut().insert(header::LOCATION, place);
    response
}

fn response_headers(request: &Request) -> Response<Bytes> {
    let query = request.query();
    let shown: Map<String, Value> = query
        .iter()
        .map(|(name, values)| (name.clone(), listed(values.clone())))
        .collect();
    let mut response = request::json(&Value::Object(shown));
    for (name, values) in query {
        for value in values {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(&name), HeaderValue::try_from(value))
            {
                response.headers_mut().append(name, value);
            }
        }
    }
    response
}

fn decode(argument: &str) -> Response<Bytes> {
    match STANDARD.decode(request::unescape(argument)) {
        Ok(bytes) => text(StatusCode::OK, bytes),
        Err(_) => text(StatusCode::BAD_REQUEST, "invalid base64\n"),
    }
}

fn cookies(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for line in headers.get_all(header::COOKIE).iter().map(value) {
        for (name, value) in line
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
        {
            shown.insert(name.to_owned(), Value::String(value.to_owned()));
        }
    }
    Value::Object(shown)
}

fn basic(user: &str, password: &str, request: &Request) -> Response<Bytes> {
    let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let given = request.head.headers.get(header::AUTHORIZATION).map(value);
    if given.as_deref() == Some(&expected) {
        return request::json(&json!({"authenticated": true, "user": user}));
    }
    let mut response = text(StatusCode::UNAUTHORIZED, Bytes::new());
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"httpbin\""),
    );
    response
}

fn bearer(request: &Request) -> Response<Bytes> {
    let given = request
        .head
        .headers
        .get(header::AUTHORIZATION)
        .map(value)
        .unwrap_or_default();
    match given.strip_prefix("Bearer ") {
        Some(token) => request::json(&json!({"authenticated": true, "token": token})),
        None => text(StatusCode::UNAUTHORIZED, Bytes::new()),
    }
}

/// RFC 9562, version 4.
fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests;
