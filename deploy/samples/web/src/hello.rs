//! helloworld: which version and which pod answered.
//! In: `GET /hello`, `GET /health`. Out: `Hello version: v1, instance: <pod>`.

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::request::{Request, text};
use crate::server::App;

/// The sample.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Version it says it is
    pub version: String,
    /// Name of its pod
    pub instance: String,
}

impl App for Hello {
    async fn answer(&self, request: Request) -> Response<Bytes> {
        match request.head.uri.path() {
            "/hello" => {
                let Self { version, instance } = self;
                text(
                    StatusCode::OK,
                    format!("Hello version: {version}, instance: {instance}\n"),
                )
            }
            "/health" => text(StatusCode::OK, "Helloworld is healthy\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}
