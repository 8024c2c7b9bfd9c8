//! Forwarding: from a route's destinations to a response that streams back.
//! In: a matched request. Out: the upstream's response, its body watched to its end.

use crate::filters::retry::{self, Attempt, GaveUp};
use crate::filters::timeout::Deadline;
use crate::filters::{client_identity, header_ops, mirror, rewrite};
use crate::message::body::{Body, BodyError, Purpose, Recording};
use crate::message::headers;
use crate::message::line::Line;
use crate::outcome::{Failure, Malformed, TIMED_OUT, UPSTREAM_GONE};
use crate::record::Record;
use crate::upstream::balance::Active;
use crate::upstream::by_host;
use crate::upstream::pool::Lease;
use ambit_model::route::{HttpRoute, WeightedCluster};
use ambit_routing::http::matching::PathMatched;
use ambit_routing::http::select;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// Forwards a request that `route` took.
pub(crate) async fn run(
    record: &Rc<Record>,
    (route, clusters, matched): (&HttpRoute, &[WeightedCluster], PathMatched),
    (mut line, mut parts): (Line, Parts),
    body: Incoming,
) -> Result<Response<Body>, GaveUp> {
    let worker = &record.downstream.worker;
    let gave_up = |failure| GaveUp {
        failure,
        retried: false,
    };
    let deadline = Deadline::after(route.timeout);
    let cluster = select::weighted(clusters, &mut *worker.rng());
    let cluster = cluster.ok_or(gave_up(Failure::NoDestination))?;
    // The client's own host counts, not what the route makes of it.
    let asked = line.authority.clone();
    let from = (&*worker.upstreams, &worker.series);
    let named = deadline.bound(by_host::resolve(from, &cluster.cluster, &asked));
    let named = named.await.ok_or(gave_up(Failure::Timeout))?;
    let named = named.map_err(gave_up)?;
    prepare(
        record,
        (route, cluster, matched),
        &mut line,
        &mut parts.headers,
    );
    let purpose = Purpose {
        keep: route.retry.is_some() || !route.mirrors.is_empty(),
        grpc: record.is_grpc(),
    };
    let body = Recording::new(body, purpose);
    record.body(&body);
    mirror::send(
        worker,
        &route.mirrors,
        (&line, &parts, &asked),
        &body,
        route.timeout,
    );
    let attempt = Attempt {
        record,
        cluster: &cluster.cluster,
        named: named.as_ref(),
        line: &line,
        parts: &parts,
        body: &body,
    };
    let outcome = deadline
        .bound(retry::run(attempt, route.retry.as_ref()))
        .await;
    let Some(result) = outcome else {
        body.close();
        return Err(gave_up(Failure::Timeout));
    };
    let success = result.map_err(|error| blamed(error, &body))?;
    let (mut head, incoming) = success.answered.response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    header_ops::response(route, Some(cluster), &mut head.headers);
    if record.facts.borrow().details.is_empty() {
        let flags = record.facts.borrow().flags;
        record.say(flags, "via_upstream");
    }
    let passing = Passing {
        incoming,
        lease: success.answered.lease,
        request: body,
        record: record.clone(),
        limit: deadline
            .at()
            .map(|at| Box::pin(tokio::time::sleep_until(at))),
        _active: success.active,
        ended: false,
    };
    Ok(Response::from_parts(head, Body::new(passing)))
}

/// A body that its sender broke is nobody else's fault. Nothing more is read of it.
fn blamed(error: GaveUp, body: &Recording) -> GaveUp {
    body.close();
    match body.is_malformed() {
        true => GaveUp {
            failure: Failure::Malformed(Malformed::Body),
            retried: false,
        },
        false => error,
    }
}

/// Makes a received head one that may be forwarded, changed as the route says.
pub(super) fn prepare(
    record: &Record,
    (route, cluster, matched): (&HttpRoute, &WeightedCluster, PathMatched),
    line: &mut Line,
    headers: &mut HeaderMap,
) {
    let worker = &record.downstream.worker;
    headers::strip_hop_by_hop(headers);
    client_identity::pass_on(&record.downstream, headers);
    headers::stamp(headers, &mut *worker.rng());
    record.request_id(headers);
    if let Some(new) = &route.rewrite {
        rewrite::apply(new, matched, line, headers);
    }
    // After the rewrite: a `Host` that is set by name is meant more than one for all destinations.
    header_ops::request(route, cluster, line, headers);
}

/// A response body on its way from the upstream to the client.
struct Passing {
    incoming: Incoming,
    lease: Option<Lease>,
    request: Rc<Recording>,
    record: Rc<Record>,
    limit: Option<Pin<Box<Sleep>>>,
    _active: Active,
    ended: bool,
}

impl Passing {
    fn end(&mut self) {
        self.ended = true;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => {
                let late = this
                    .limit
                    .as_mut()
                    .is_some_and(|l| l.as_mut().poll(cx).is_ready());
                if late {
                    this.record.say(TIMED_OUT, "response_timeout");
                    return Poll::Ready(Some(Err(BodyError::Timeout)));
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.record
                    .say(UPSTREAM_GONE, "upstream_reset_after_response_started");
                Poll::Ready(Some(Err(BodyError::Source(error))))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.incoming)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.ended && http_body::Body::is_end_stream(&self.incoming) {
            self.end();
        }
        self.request.close();
    }
}
