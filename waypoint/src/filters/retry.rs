//! Retries: the same request again, at another endpoint where there is one.
//! In: a prepared head, a recorded body, the route's policy. Out: the answer of the last try.
//! A body that is no longer kept is not sent again.

use crate::message::body::Recording;
use crate::message::headers;
use crate::message::line::Line;
use crate::outcome::{Failure, RETRIES_USED_UP};
use crate::record::Record;
use crate::upstream::balance::Active;
use crate::upstream::by_host::Named;
use crate::upstream::endpoints::{self, Target, Wish};
use crate::upstream::pool::{self, Answered, SendFailure};
use ambit_model::ids::ClusterName;
use ambit_model::route::Retry;
use ambit_routing::http::retry::{TryEnd, backoff, wants};
use http::Request;
use http::request::Parts;
use smallvec::SmallVec;
use std::rc::Rc;

/// What is sent.
pub(crate) struct Attempt<'a> {
    pub(crate) record: &'a Record,
    pub(crate) cluster: &'a ClusterName,
    /// Where the request's host leads, if that decides.
    pub(crate) named: Option<&'a Named>,
    pub(crate) line: &'a Line,
    pub(crate) parts: &'a Parts,
    pub(crate) body: &'a Rc<Recording>,
}

/// An answer and the endpoint that gave it.
pub(crate) struct Success {
    pub(crate) answered: Answered,
    pub(crate) active: Active,
}

/// Why there is none, and whether a policy was used to its end.
#[derive(Debug)]
pub(crate) struct GaveUp {
    pub(crate) failure: Failure,
    pub(crate) retried: bool,
}

/// Tries until an answer is good enough, or the policy ends.
pub(crate) async fn run(attempt: Attempt<'_>, retry: Option<&Retry>) -> Result<Success, GaveUp> {
    let mut tried = SmallVec::<[_; 4]>::new();
    let mut number = 0;
    loop {
        let worker = &attempt.record.downstream.worker;
        let wish = Wish {
            dialled: attempt.record.downstream.dialled(),
            named: attempt.named,
        };
        let to = (attempt.cluster, wish);
        let (target, active) =
            endpoints::choose(&worker.upstreams, to, &tried).map_err(|failure| GaveUp {
                failure,
                retried: false,
            })?;
        tried.push(target.workload.uid.clone());
        attempt.record.endpoint(&target);
        let result = once(&attempt, &target, retry).await;
        if let Ok(answered) = &result {
            attempt.record.reached(answered.peer);
        }
        let end = match &result {
            Ok(answered) => end_of(answered),
            Err(end) => end.for_policy(),
        };
        let policy = retry.filter(|retry| wants(retry, end));
        let again = policy.filter(|r| number < r.attempts && attempt.body.can_replay());
        let Some(policy) = again else {
            let used_up = policy.is_some() && number > 0;
            return match result {
                Ok(answered) => {
                    if used_up {
                        attempt.record.say(RETRIES_USED_UP, "via_upstream");
                    }
                    Ok(Success { answered, active })
                }
                Err(end) => Err(GaveUp {
                    failure: end.failure(),
                    retried: used_up,
                }),
            };
        };
        drop((result, active));
        number += 1;
        let pause = backoff(policy.backoff_base, number, &mut *worker.rng());
        tokio::time::sleep(pause).await;
    }
}

enum Failed {
    Send(SendFailure),
    TooLate,
}

impl Failed {
    fn for_policy(&self) -> TryEnd {
        match self {
            Self::Send(failure) => failure.end(),
            Self::TooLate => TryEnd::PerTryTimeout,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::TooLate => Failure::PerTryTimeout,
            Self::Send(SendFailure::Connect(failure)) => Failure::Connect(*failure),
            Self::Send(SendFailure::Refused | SendFailure::Unsent | SendFailure::Reset) => {
                Failure::ResetBeforeHeaders
            }
            Self::Send(SendFailure::Protocol) => Failure::Protocol,
        }
    }
}

async fn once(
    attempt: &Attempt<'_>,
    target: &Target,
    retry: Option<&Retry>,
) -> Result<Answered, Failed> {
    let version = pool::Version::towards(target, attempt.parts.version);
    let mut parts = attempt.parts.clone();
    attempt.line.write(&mut parts, version.in_message());
    let request = Request::from_parts(parts, attempt.body.play());
    let worker = &attempt.record.downstream.worker;
    let sent = pool::send(&worker.upstreams, target, version, request);
    match retry.and_then(|r| r.per_try_timeout) {
        None => sent.await.map_err(Failed::Send),
        Some(limit) => match tokio::time::timeout(limit, sent).await {
            Ok(result) => result.map_err(Failed::Send),
            Err(_) => Err(Failed::TooLate),
        },
    }
}

fn end_of(answered: &Answered) -> TryEnd {
    let response = &answered.response;
    TryEnd::Response {
        status: response.status().as_u16(),
        grpc_status: headers::grpc_status(response.headers()).map(u32::from),
    }
}
