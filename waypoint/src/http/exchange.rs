//! One request: matched, acted on, answered, reported.
//! In: a request of a CONNECT stream. Out: a response whose body reports when it is over.

use super::{forward, upgrade};
use crate::downstream::Downstream;
use crate::filters::retry::GaveUp;
use crate::filters::{
    authorization, client_identity, direct_response, fault, header_ops, redirect,
};
use crate::message::body::{Body, BodyError};
use crate::message::edge;
use crate::message::headers;
use crate::message::line::Line;
use crate::message::reply;
use crate::outcome::{Failure, Malformed};
use crate::record::Record;
use crate::state::View;
use crate::watch::Serving;
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

/// A request as its connection hands it over.
pub(super) struct Asked {
    /// Its head has two framings.
    pub(super) framed_twice: bool,
    /// Where it leaves the upstream half, should it leave HTTP.
    pub(super) slot: upgrade::Slot,
    /// Held until its response has been passed on.
    pub(super) serving: Serving,
}

/// Answers one request; never fails, because a failure is an answer too.
pub(crate) async fn run(
    downstream: Rc<Downstream>,
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (mut parts, body) = request.into_parts();
    if downstream.is_from_outside() {
        edge::mark(&mut parts.headers, downstream.client.ip());
    }
    let record = Record::open(&downstream, &parts);
    let request = Request::from_parts(parts, body);
    let acceptable = acceptable(&downstream, &asked, &request);
    let responded = match acceptable {
        Ok(()) => respond(&record, asked.slot, request).await,
        Err(malformed) => Err(gave_up(Failure::Malformed(malformed))),
    };
    let response = match responded {
        Ok(response) => response,
        Err(GaveUp { failure, retried }) => {
            let said = failure.said(retried);
            record.failed(&said);
            if let Failure::Malformed(malformed) = failure {
                downstream.worker.series.malformed(malformed.reason());
            }
            reply::failure(&said, record.is_grpc())
        }
    };
    record.responding(&response);
    let serving = asked.serving;
    Ok(response.map(|body| Body::new(Reported::new(body, (record, serving)))))
}

fn gave_up(failure: Failure) -> GaveUp {
    GaveUp {
        failure,
        retried: false,
    }
}

/// Whether a head keeps to the limits and has one meaning.
fn acceptable<B>(
    downstream: &Downstream,
    asked: &Asked,
    request: &Request<B>,
) -> Result<(), Malformed> {
    let limits = &downstream.worker.limits;
    let headers = request.headers();
    let too_many = headers.len() > limits.headers;
    let target = request.uri().path_and_query();
    let line = target.map_or(0, |target| target.as_str().len() as u64);
    if too_many || line + headers::size(headers) > u64::from(limits.header_bytes) {
        return Err(Malformed::TooLarge);
    }
    if asked.framed_twice {
        return Err(Malformed::FramedTwice);
    }
    Ok(())
}

async fn respond(
    record: &Rc<Record>,
    slot: upgrade::Slot,
    request: Request<Incoming>,
) -> Result<Response<Body>, GaveUp> {
    let (mut parts, body) = request.into_parts();
    let line = Line::of(&parts).map_err(|malformed| gave_up(Failure::Malformed(malformed)))?;
    record.authority(&line.authority);
    if line.method == http::Method::CONNECT {
        return Err(gave_up(Failure::UpgradeRefused));
    }
    let router = router(&record.downstream, &line.authority).await;
    let router = router.map_err(gave_up)?;
    client_identity::claim(&record.downstream, &mut parts.headers);
    // Before routes: who may not ask is not told what exists.
    authorization::request(record, router.as_deref(), (&line, &parts.headers))
        .await
        .map_err(gave_up)?;
    let router = router.ok_or(gave_up(Failure::NoRoute))?;
    if !router.takes(&line.authority) {
        return Err(gave_up(Failure::NoRoute));
    }
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

/// The routes of the addressed service port or of the listener's virtual host; waits while configuration
/// is still arriving. `None`: the listener has no such host.
async fn router(downstream: &Downstream, authority: &str) -> Result<Option<Arc<Router>>, Failure> {
    let (addressed, port) = (&downstream.addressed, downstream.local.port());
    let state = &downstream.worker.state;
    let find = |view: &View| addressed.router(view, (port, authority));
    if let Some(router) = find(&state.load()) {
        return Ok(Some(router));
    }
    if downstream.is_from_outside() && state.load().is_complete() {
        return Ok(None);
    }
    let found = state.wait_for(find).await;
    if found.is_none() && !(downstream.is_from_outside() && state.load().is_complete()) {
        return Err(Failure::NotConfigured);
    }
    Ok(found)
}

/// A response body that counts, and ends the record.
struct Reported {
    body: Body,
    record: Rc<Record>,
    _serving: Serving,
}

impl Reported {
    fn new(body: Body, (record, serving): (Rc<Record>, Serving)) -> Self {
        // The server takes no body of such a response, not even its end.
        let bodiless = record.facts.borrow().method == http::Method::HEAD;
        if bodiless || http_body::Body::is_end_stream(&body) {
            record.completed();
        }
        Self {
            body,
            record,
            _serving: serving,
        }
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
                    self.record.sent_data(data);
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
