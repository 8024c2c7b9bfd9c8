//! Reviews: v1 without stars, v2 with black and v3 with red ones.
//! In: `GET /reviews/<id>`, `GET /health`. Out: the sample's JSON; from v2 on one call to ratings, for which
//! v3 waits less: guides on faults and time-outs rest on these numbers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::answer;
use crate::book;
use crate::hop::{self, Target};
use crate::server::{self, App, Listen};

/// Arguments of `bookinfo reviews`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    /// Where ratings are
    #[arg(long, env = "RATINGS_HOSTNAME", default_value = "ratings")]
    ratings_host: String,
    /// Port of ratings
    #[arg(long, env = "RATINGS_SERVICE_PORT", default_value_t = 9080)]
    ratings_port: u16,
}

/// Serves until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let stars = Stars::of(&args.listen.version);
    let app = Reviews {
        stars,
        pod: args.listen.pod.clone(),
        ratings: Target {
            host: args.ratings_host,
            port: args.ratings_port,
            patience: stars.patience(),
        },
    };
    server::serve(&args.listen, app).await
}

/// How a version shows ratings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stars {
    Absent,
    Black,
    Red,
}

impl Stars {
    fn of(version: &str) -> Self {
        match version {
            "v1" => Self::Absent,
            "v2" => Self::Black,
            _ => Self::Red,
        }
    }

    /// How long it waits for ratings, as in the sample.
    fn patience(self) -> Duration {
        match self {
            Self::Absent | Self::Black => Duration::from_secs(10),
            Self::Red => Duration::from_millis(2500),
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Absent | Self::Black => "black",
            Self::Red => "red",
        }
    }
}

struct Reviews {
    stars: Stars,
    pod: String,
    ratings: Target,
}

impl Reviews {
    /// The stars by reviewer, or what the page shows instead.
    async fn ratings(
        &self,
        id: u64,
        headers: &HeaderMap,
        marker: Option<&str>,
    ) -> Result<Value, Value> {
        let path = match marker {
            Some(marker) => format!("/ratings/{id}?marker={marker}"),
            None => format!("/ratings/{id}"),
        };
        let unavailable = json!({"error": "Ratings service is currently unavailable"});
        match hop::fetch(&self.ratings, &path, headers).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                serde_json::from_slice::<Value>(answer.body())
                    .map(|mut body| body["ratings"].take())
                    .map_err(|_| unavailable)
            }
            _ => Err(unavailable),
        }
    }
}

impl App for Reviews {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        if path == "/health" {
            return answer::json(StatusCode::OK, &json!({"status": "Reviews is healthy"}));
        }
        let Some(id) = book::product_id(path, "reviews") else {
            return server::not_found(path);
        };
        let marker = answer::query_value(request.uri().query(), "marker");
        let mut reviews: Vec<Value> = book::REVIEWS
            .iter()
            .map(|(who, text)| json!({"reviewer": who, "text": text}))
            .collect();
        if self.stars != Stars::Absent {
            let ratings = self.ratings(id, request.headers(), marker).await;
            for ((who, _), review) in book::REVIEWS.iter().zip(&mut reviews) {
                review["rating"] = match &ratings {
                    Ok(stars) => json!({"stars": stars[*who], "color": self.stars.colour()}),
                    Err(error) => error.clone(),
                };
            }
        }
        let mut answer = json!({
            "id": id.to_string(),
            "podname": self.pod,
            "clustername": "null",
            "reviews": reviews,
        });
        if let Some(marker) = marker {
            answer["marker"] = marker.into();
        }
        answer::json(StatusCode::OK, &answer)
    }
}
