//! Mirrors: copies of a request whose answers nobody sees.
//! In: the head as it is forwarded and the recorded body. Out: one request per mirror, sent once the
//! body is complete, by a task of the worker with a deadline. At most [`IN_FLIGHT`] per worker.

use crate::message::body::{Body, Recording};
use crate::message::line::Line;
use crate::upstream::by_host;
use crate::upstream::endpoints::{self, Wish};
use crate::upstream::pool;
use crate::worker::Worker;
use ambit_model::ids::ClusterName;
use ambit_model::route::Mirror;
use ambit_routing::http::fault::hits;
use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Mirrored requests of one worker at a time.
const IN_FLIGHT: usize = 1024;
/// Longest life of a mirrored request where the route has no timeout.
const LIMIT: Duration = Duration::from_secs(15);

thread_local! {
    static FLYING: Cell<usize> = const { Cell::new(0) };
}

/// Sends the copies that are due. `asked`: the host that the client named.
pub(crate) fn send(
    worker: &Rc<Worker>,
    mirrors: &[Mirror],
    (line, parts, asked): (&Line, &Parts, &str),
    body: &Rc<Recording>,
    limit: Option<Duration>,
) {
    for mirror in mirrors {
        if !hits(mirror.share, &mut *worker.rng()) {
            continue;
        }
        let Some(place) = Place::take() else {
            worker.series.mirrors_skipped.inc();
            continue;
        };
        let (worker, body) = (worker.clone(), body.clone());
        let (line, parts, asked) = (shadow(line), parts.clone(), asked.to_owned());
        let cluster = mirror.cluster.clone();
        tokio::task::spawn_local(async move {
            let sent = copy(&worker, (&cluster, &asked), (line, parts), &body);
            let in_time = tokio::time::timeout(limit.unwrap_or(LIMIT), sent).await;
            if !matches!(in_time, Ok(Some(()))) {
                worker.series.mirrors_skipped.inc();
            }
            drop(place);
        });
    }
}

async fn copy(
    worker: &Rc<Worker>,
    (cluster, asked): (&ClusterName, &str),
    (line, mut parts): (Line, Parts),
    body: &Rc<Recording>,
) -> Option<()> {
    let received: Body = body.complete().await?;
    let from = (&*worker.upstreams, &worker.series);
    let named = by_host::resolve(from, cluster, asked).await.ok()?;
    let wish = Wish {
        dialled: None,
        named: named.as_ref(),
    };
    let (target, active) = endpoints::choose(&worker.upstreams, (cluster, wish), &[]).ok()?;
    let version = pool::Version::towards(&target, parts.version);
    line.write(&mut parts, version.in_message());
    let request = Request::from_parts(parts, received);
    let answered = pool::send(&worker.upstreams, &target, version, request)
        .await
        .ok()?;
    // Read to its end, so that the connection can serve again.
    let mut answer = answered.response.into_body();
    while let Some(frame) = answer.frame().await {
        frame.ok()?;
    }
    if let Some(lease) = answered.lease {
        lease.give_back();
    }
    drop(active);
    Some(())
}

/// Mirrors can tell that they are mirrors: `-shadow` is added to the host.
fn shadow(line: &Line) -> Line {
    let mut line = line.clone();
    line.authority = match line.authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{host}-shadow:{port}")
        }
        _ => format!("{}-shadow", line.authority),
    };
    line
}

struct Place;

impl Place {
    fn take() -> Option<Self> {
        let flying = FLYING.get();
        (flying < IN_FLIGHT)
            .then(|| FLYING.set(flying + 1))
            .map(|()| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        FLYING.set(FLYING.get().saturating_sub(1));
    }
}
