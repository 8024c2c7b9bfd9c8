//! Details: facts about the book.
//! In: `GET /details/<id>`, `GET /health`. Out: the sample's JSON.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::answer;
use crate::book;
use crate::server::{self, App, Listen};

/// Arguments of `bookinfo details`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
}

/// Serves until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    server::serve(&args.listen, Details).await
}

struct Details;

impl App for Details {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        if path == "/health" {
            return answer::json(StatusCode::OK, &json!({"status": "Details is healthy"}));
        }
        let Some(id) = book::product_id(path, "details") else {
            return server::not_found(path);
        };
        let mut answer = json!({
            "id": id,
            "author": "William Shakespeare",
            "year": 1595,
            "type": "paperback",
            "pages": 200,
            "publisher": "PublisherA",
            "language": "English",
            "ISBN-10": "1234567890",
            "ISBN-13": "123-1234567890",
        });
        if let Some(marker) = answer::query_value(request.uri().query(), "marker") {
            answer["marker"] = marker.into();
        }
        answer::json(StatusCode::OK, &answer)
    }
}
