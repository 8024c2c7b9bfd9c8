//! Ratings: stars by reviewer.
//! In: `GET` and `POST /ratings/<id>`, `GET /health`. Out: the sample's JSON.
//! Owns: the ratings posted since the start, in memory, for at most [`PRODUCTS`] products.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::answer;
use crate::book;
use crate::server::{self, App, Listen};

/// Most products whose posted ratings are kept.
const PRODUCTS: usize = 1024;

type Stars = BTreeMap<String, u64>;

/// Arguments of `bookinfo ratings`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
}

/// Serves until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    server::serve(&args.listen, Ratings::default()).await
}

#[derive(Default)]
struct Ratings {
    posted: Mutex<BTreeMap<u64, Stars>>,
}

impl Ratings {
    fn stars(&self, id: u64) -> Stars {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.get(&id).cloned().unwrap_or_else(|| {
            book::STARS
                .map(|(who, stars)| (who.to_owned(), stars))
                .into()
        })
    }

    fn post(&self, id: u64, body: &[u8]) -> StatusCode {
        let Ok(stars) = serde_json::from_slice::<Stars>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        if posted.len() >= PRODUCTS && !posted.contains_key(&id) {
            return StatusCode::INSUFFICIENT_STORAGE;
        }
        posted.insert(id, stars);
        StatusCode::OK
    }
}

impl App for Ratings {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        if path == "/health" {
            return answer::json(StatusCode::OK, &json!({"status": "Ratings is healthy"}));
        }
        let Some(id) = book::product_id(path, "ratings") else {
            return server::not_found(path);
        };
        if request.method() == Method::POST {
            let status = self.post(id, request.body());
            if status != StatusCode::OK {
                return answer::json(
                    status,
                    &json!({"error": "please provide valid ratings JSON"}),
                );
            }
        }
        let mut answer = json!({"id": id, "ratings": self.stars(id)});
        if let Some(marker) = answer::query_value(request.uri().query(), "marker") {
            answer["marker"] = marker.into();
        }
        answer::json(StatusCode::OK, &answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posted_stars_replace_the_first_ones() {
        let ratings = Ratings::default();
        assert_eq!(ratings.stars(0)["Reviewer1"], 5);
        assert_eq!(ratings.post(0, br#"{"Reviewer1":1}"#), StatusCode::OK);
        assert_eq!(
            ratings.stars(0).into_iter().collect::<Vec<_>>(),
            [("Reviewer1".to_owned(), 1)]
        );
        assert_eq!(ratings.post(0, b"not json"), StatusCode::BAD_REQUEST);
    }
}
