//! The webhook: POST /validate with an AdmissionReview, over the controller's own certificate.
//! In: reviews of the API server. Out: reviews. Bounded in size and time; anyone may ask.

use crate::admission;
use ambit_runtime::tasks;
use http_body_util::{BodyExt, Limited};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::codegen::{BoxFuture, Service};

const PATH: &str = "/validate";
/// Longest review, in bytes: an object twice, each at most the 3 MiB that the API server takes.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// A review must have arrived after this.
const DEADLINE: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Webhook;

impl Service<Request<Body>> for Webhook {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(answer(request).await) })
    }
}

async fn answer(request: Request<Body>) -> Response<Body> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = match timeout(DEADLINE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT),
    };
    // A large object takes a while to judge.
    let review = tasks::spawn_blocking("review", move || admission::review(&body));
    let tasks::End::Returned(Some(review)) = review.await else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let mut response = Response::new(Body::new(http_body_util::Full::from(review.to_string())));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
