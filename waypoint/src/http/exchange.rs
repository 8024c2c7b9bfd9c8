//! One request: matched, acted on, answered, reported.
//! In: a request of a CONNECT stream. Out: a response whose body reports when it is over.

use super::{forward, upgrade};
use crate::downstream::Downstream;
use crate::filters::retry::GaveUp;
use crate::filters::{direct_response, fault, header_ops, redirect};
use crate::message::body::{Body, BodyError};
use crate::message::line::Line;
use crate::message::reply;
use crate::outcome::Failure;
use crate::record::Record;
use ambit_model::route::{Action, Router};
use ambit_routing::http::matching::{PathMatched, find};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Answers one request; never fails, because a failure is an answer too.
pub(crate) async fn run(
    downstream: Rc<Downstream>,
    slot: upgrade::Slot,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let record = Record::open(&downstream, &parts);
    let request = Request::from_parts(parts, body);
    let response = match respond(&record, slot, request).await {
        Ok(response) => response,
        Err(GaveUp { failure, retried }) => {
            let said = failure.said(retried);
            record.failed(&said);
            reply::failure(&said, record.is_grpc())
        }
    };
    record.responding(&response);
    Ok(response.map(|body| Body::new(Reported::new(body, record))))
}

async fn respond(
    record: &Rc<Record>,
    slot: upgrade::Slot,
    request: Request<Incoming>,
) -> Result<Response<Body>, GaveUp> {
    let gave_up = |failure| GaveUp {
        failure,
        retried: false,
    };
    let (parts, body) = request.into_parts();
    let line = Line::of(&parts).ok_or(gave_up(Failure::BadRequest))?;
    record.authority(&line.authority);
    if line.method == http::Method::CONNECT {
        return Err(gave_up(Failure::UpgradeRefused));
    }
    let router = router(&record.downstream)
        .await
        .ok_or(gave_up(Failure::NotConfigured))?;
    let matched = find(&router, &line.view(&parts.headers));
    let matched = matched.ok_or(gave_up(Failure::NoRoute))?;
    let (route, path): (_, PathMatched) = (matched.route, matched.path);
    record.route(route);
    if let Some(aborted) = fault::inject(record, &route.fault).await {
        return Ok(aborted);
    }
    let mut response = match &route.action {
        Action::Redirect(to) => redirect::answer(record, to, path, (&line, &parts.headers)),
        Action::DirectResponse(fixed) => direct_response::answer(record, fixed),
        Action::Forward(clusters) if upgrade::is_asked(&parts) => {
            let request = Request::from_parts(parts, body);
            return upgrade::run((record, slot), (route, clusters, path), line, request).await;
        }
        Action::Forward(clusters) => {
            return forward::run(record, (route, clusters, path), (line, parts), body).await;
        }
    };
    header_ops::response(route, None, response.headers_mut());
    Ok(response)
}

/// The routes of the addressed service port; waits while configuration is still arriving.
async fn router(downstream: &Downstream) -> Option<Arc<Router>> {
    let (key, port) = (&downstream.service.key, downstream.local.port());
    if let Some(router) = downstream.worker.state.load().router(key, port) {
        return Some(router.clone());
    }
    downstream
        .worker
        .state
        .wait_for(|view| view.router(key, port).cloned())
        .await
}

/// A response body that counts, and ends the record.
struct Reported {
    body: Body,
    record: Rc<Record>,
}

impl Reported {
    fn new(body: Body, record: Rc<Record>) -> Self {
        // The server takes no body of such a response, not even its end.
        let bodiless = record.facts.borrow().method == http::Method::HEAD;
        if bodiless || http_body::Body::is_end_stream(&body) {
            record.completed();
        }
        Self { body, record }
    }
}

impl http_body::Body for Reported {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.record.completed(),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.record.sent(data.len() as u64);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.record.trailers(trailers);
                }
                if http_body::Body::is_end_stream(&self.body) {
                    self.record.completed();
                }
            }
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
