//! Productpage: the page, made of details and reviews.
//! In: `GET /productpage[?u=<user>]`, `/api/v1/products[/<id>[/reviews|/ratings]]`, `GET /health`, and a
//! browser's `/login` and `/logout`. Out: HTML or JSON with what details and reviews answered, or the sample's
//! words when they did not. Reviews are asked twice if need be, three seconds each.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::answer;
use crate::book;
use crate::hop::{self, Target};
use crate::server::{self, App, Listen, VERSION_HEADER};
use crate::session;

/// How long each call may take, as in the sample.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often reviews are asked, as in the sample.
const TRIES: u32 = 2;

/// Header of the page that names the version of reviews it shows.
const REVIEWS_VERSION: &str = "x-bookinfo-reviews-version";

/// Arguments of `bookinfo productpage`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    /// Where details are
    #[arg(long, env = "DETAILS_HOSTNAME", default_value = "details")]
    details_host: String,
    /// Where reviews are
    #[arg(long, env = "REVIEWS_HOSTNAME", default_value = "reviews")]
    reviews_host: String,
    /// Where ratings are
    #[arg(long, env = "RATINGS_HOSTNAME", default_value = "ratings")]
    ratings_host: String,
    /// Port of all three
    #[arg(long, env = "BOOKINFO_PORT", default_value_t = 9080)]
    port: u16,
}

/// Serves until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let target = |host: &str| Target {
        host: host.to_owned(),
        port: args.port,
        patience: PATIENCE,
    };
    let app = Productpage {
        details: target(&args.details_host),
        reviews: target(&args.reviews_host),
        ratings: target(&args.ratings_host),
    };
    server::serve(&args.listen, app).await
}

struct Productpage {
    details: Target,
    reviews: Target,
    ratings: Target,
}

/// What another service answered.
struct Part {
    status: StatusCode,
    body: Value,
    version: Option<HeaderValue>,
}

impl Productpage {
    async fn part(&self, target: &Target, path: String, headers: &HeaderMap) -> Part {
        match hop::fetch(target, &path, headers).await {
            Ok(answer) => Part {
                status: answer.status(),
                version: answer.headers().get(VERSION_HEADER).cloned(),
                body: serde_json::from_slice(answer.body())
                    .unwrap_or_else(|_| json!({"error": String::from_utf8_lossy(answer.body())})),
            },
            Err(error) => Part {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                version: None,
                body: json!({"error": format!("{error:#}")}),
            },
        }
    }

    async fn reviews(&self, path: String, headers: &HeaderMap) -> Part {
        let mut part = self.part(&self.reviews, path.clone(), headers).await;
        for _ in 1..TRIES {
            if part.status == StatusCode::OK {
                break;
            }
            part = self.part(&self.reviews, path.clone(), headers).await;
        }
        part
    }

    async fn page(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let query = request.uri().query();
        let marker = answer::query_value(query, "marker");
        let mut headers = request.headers().clone();
        let asked = answer::query_value(query, "u").map(str::to_owned);
        if let Some(user) = asked.or_else(|| session::user(&headers))
            && let Ok(user) = HeaderValue::from_str(&user)
        {
            headers.insert("end-user", user);
        }
        let suffix = marker.map(|m| format!("?marker={m}")).unwrap_or_default();
        let details = self
            .part(&self.details, format!("/details/0{suffix}"), &headers)
            .await;
        let reviews = self.reviews(format!("/reviews/0{suffix}"), &headers).await;
        let mut response = Response::new(Bytes::from(html(&details, &reviews, marker)));
        let out = response.headers_mut();
        out.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        if let Some(version) = reviews.version {
            out.insert(REVIEWS_VERSION, version);
        }
        response
    }

    async fn api(&self, path: &str, headers: &HeaderMap) -> Response<Bytes> {
        let rest = path.strip_prefix("/api/v1/products").unwrap_or_default();
        let mut parts = rest.split('/').skip(1);
        let (id, what, end) = (parts.next(), parts.next(), parts.next());
        let id = match id {
            None | Some("") => return answer::json(StatusCode::OK, &json!([book::product()])),
            Some(id) => id,
        };
        let (Ok(id), None) = (id.parse::<u64>(), end) else {
            return server::not_found(path);
        };
        let part = match what {
            None => {
                self.part(&self.details, format!("/details/{id}"), headers)
                    .await
            }
            Some("reviews") => self.reviews(format!("/reviews/{id}"), headers).await,
            Some("ratings") => {
                self.part(&self.ratings, format!("/ratings/{id}"), headers)
                    .await
            }
            Some(_) => return server::not_found(path),
        };
        answer::json(part.status, &part.body)
    }
}

impl App for Productpage {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        match path {
            "/health" => answer::json(
                StatusCode::OK,
                &json!({"status": "Product page is healthy"}),
            ),
            "/login" if request.method() == Method::POST => session::login(request.body()),
            "/logout" => session::logout(),
            "/" | "/index.html" | "/productpage" if reads(request.method()) => {
                self.page(&request).await
            }
            "/login" | "/" | "/index.html" | "/productpage" => answer::json(
                StatusCode::METHOD_NOT_ALLOWED,
                &json!({"error": "method not allowed"}),
            ),
            _ if path.starts_with("/api/v1/products") => self.api(path, request.headers()).await,
            _ => server::not_found(path),
        }
    }
}

/// Methods that a page takes.
fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn html(details: &Part, reviews: &Part, marker: Option<&str>) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html><head><title>Simple Bookstore App</title></head><body>\n\
         <h1>The Comedy of Errors</h1>\n",
    );
    page.push_str("<h4>Book Details</h4>\n");
    if details.status == StatusCode::OK {
        for key in ["ISBN-10", "publisher", "pages", "type", "language"] {
            page.push_str(&format!(
                "<dt>{key}</dt><dd>{}</dd>\n",
                text(&details.body[key])
            ));
        }
    } else {
        page.push_str("<p>Error fetching product details!</p>\n");
        page.push_str("<p>Sorry, product details are currently unavailable for this book.</p>\n");
    }
    page.push_str("<h4>Book Reviews</h4>\n");
    if reviews.status == StatusCode::OK {
        for review in reviews.body["reviews"].as_array().into_iter().flatten() {
            page.push_str(&stars(review));
        }
        page.push_str(&format!(
            "<p>Reviews served by {}</p>\n",
            text(&reviews.body["podname"])
        ));
    } else {
        page.push_str("<p>Error fetching product reviews!</p>\n");
        page.push_str("<p>Sorry, product reviews are currently unavailable for this book.</p>\n");
    }
    if let Some(marker) = marker {
        page.push_str(&format!("<p>{}</p>\n", escape(marker)));
    }
    page.push_str("</body></html>\n");
    page
}

fn stars(review: &Value) -> String {
    let mut out = format!(
        "<p>{}</p><small>{}</small>\n",
        text(&review["text"]),
        text(&review["reviewer"])
    );
    if let Some(stars) = review["rating"]["stars"].as_u64() {
        let colour = text(&review["rating"]["color"]);
        let full = usize::try_from(stars.min(5)).unwrap_or(5);
        out.push_str(&format!(
            "<font color=\"{colour}\">{}</font>\n",
            "*".repeat(full)
        ));
    } else if !review["rating"].is_null() {
        out.push_str(&format!("<p>{}</p>\n", text(&review["rating"]["error"])));
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::String(s) => escape(s),
        other => escape(&other.to_string()),
    }
}

fn escape(raw: &str) -> String {
    raw.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
