//! Pages of httpbin, each as the public service answers.

use super::Httpbin;
use crate::request::Request;
use crate::server::App as _;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

async fn ask(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let peer = "[::ffff:10.1.2.3]:4".parse().unwrap();
    let request = Request {
        head,
        body: Bytes::copy_from_slice(body.as_bytes()),
        peer,
    };
    Httpbin::new("pod-1".to_owned()).answer(request).await
}

async fn get(target: &str) -> Response<Bytes> {
    ask("GET", target, &[], "").await
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn a_request_is_shown_as_it_arrived() {
    let headers = [
        ("host", "httpbin:8000"),
        ("x-request-id", "7"),
        ("via", "a"),
        ("via", "b"),
    ];
    let shown = json(&ask("POST", "/post?a=1&a=2&b=%20", &headers, r#"{"k":1}"#).await);
    assert_eq!(
        shown["args"],
        serde_json::json!({"a": ["1", "2"], "b": " "})
    );
    assert_eq!(shown["headers"]["X-Request-Id"], "7");
    assert_eq!(shown["headers"]["Via"], serde_json::json!(["a", "b"]));
    assert_eq!(shown["json"]["k"], 1);
    assert_eq!(shown["origin"], "10.1.2.3");
    assert_eq!(shown["url"], "http://httpbin:8000/post?a=1&a=2&b=%20");
}

#[tokio::test]
async fn a_page_takes_its_method_only() {
    assert_eq!(get("/get").await.status(), StatusCode::OK);
    assert_eq!(ask("HEAD", "/get", &[], "").await.status(), StatusCode::OK);
    assert_eq!(get("/post").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        ask("PATCH", "/anything/at/all", &[], "").await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn answers_are_as_they_are_asked_for() {
    assert_eq!(get("/status/418").await.status(), StatusCode::IM_A_TEAPOT);
    let drawn = get("/status/500,503").await.status().as_u16();
    assert!(drawn == 500 || drawn == 503);
    assert_eq!(get("/bytes/64").await.body().len(), 64);
    assert_eq!(
        get("/redirect/3").await.headers()["location"],
        "/redirect/2"
    );
    assert_eq!(get("/redirect/1").await.headers()["location"], "/get");
    assert_eq!(get("/response-headers?x-a=b").await.headers()["x-a"], "b");
    assert_eq!(get("/base64/aGVsbG8=").await.body(), "hello");
    assert_eq!(json(&get("/hostname").await)["hostname"], "pod-1");
    assert_eq!(get("/delay/0").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn nonsense_is_refused() {
    for target in [
        "/status/",
        "/status/abc",
        "/status/20",
        "/delay/-1",
        "/delay/nan",
        "/bytes/x",
        "/redirect/0",
        "/redirect/101",
        "/redirect-to",
        "/base64/!",
    ] {
        assert_eq!(
            get(target).await.status(),
            StatusCode::BAD_REQUEST,
            "{target}"
        );
    }
    assert_eq!(get("/nowhere").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn credentials_are_compared() {
    let good = [("authorization", "Basic YTpi")];
    assert_eq!(
        ask("GET", "/basic-auth/a/b", &good, "").await.status(),
        StatusCode::OK
    );
    assert_eq!(
        ask("GET", "/basic-auth/a/c", &good, "").await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(get("/bearer").await.status(), StatusCode::UNAUTHORIZED);
}
