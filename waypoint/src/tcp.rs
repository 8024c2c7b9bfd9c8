//! Ports that carry bytes: one destination per connection, by weight.
//! In: a CONNECT stream that policies admit. Out: a relay with an endpoint, one set of metrics, one access line.
//! An endpoint that cannot be reached is passed over for another; bytes are never sent twice.

mod client_hello;

use crate::downstream::Downstream;
use crate::filters::authorization;
use crate::outcome::{Failure, NO_FLAGS};
use crate::record::access_line::{self, Ended};
use crate::stream_io::HboneIo;
use crate::upstream::connect::{Connection, connect};
use crate::upstream::endpoints::{self, Target, Wish};
use ambit_model::ids::ClusterName;
use ambit_net::relay::{self, Counters, RelayEnd};
use ambit_routing::http::select;
use ambit_telemetry::labels::{Peer, Reporter, SecurityPolicy, TrafficLabels};
use ambit_telemetry::traffic::TrafficCells;
use smallvec::SmallVec;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Endpoints tried for one connection.
const TRIES: usize = 3;
/// How often bytes of a living connection are counted, and policies that have changed are asked again.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Relays to its end.
pub(crate) async fn serve(downstream: Rc<Downstream>, mut io: HboneIo) {
    let (began, started) = (SystemTime::now(), Instant::now());
    let counters = Counters::default();
    let mut denial = None;
    let reached = match authorization::connection(&downstream, async || {
        client_hello::server_name(&mut io).await
    })
    .await
    {
        Ok(admitted) => reach(&downstream).await.map(|reached| (reached, admitted)),
        Err((failure, details)) => {
            denial = details;
            Err((None, failure))
        }
    };
    let (target, result) = match reached {
        Ok(((target, connection, active), mut admitted)) => {
            let cells = series(&downstream, Some(&target), NO_FLAGS);
            cells.opened();
            let end = carry(io, connection, (&counters, &cells), || {
                denial = admitted.revoked(&downstream);
                denial.is_some()
            })
            .await;
            cells.closed();
            drop(active);
            (Some(target), Ok(end))
        }
        Err((target, failure)) => {
            // Dropped without an end, the stream is reset: the client sees a failure, not a close.
            drop(io);
            let said = failure.said(false);
            series(&downstream, target.as_ref(), said.flags).failed();
            (target, Err(said))
        }
    };
    let (flags, details) = match &result {
        Ok(None | Some(RelayEnd::Finished)) => (NO_FLAGS, ""),
        Ok(Some(RelayEnd::Broken {
            by: relay::Side::Client,
            ..
        })) => (
            crate::outcome::DOWNSTREAM_GONE,
            "downstream_remote_disconnect",
        ),
        Ok(Some(RelayEnd::Broken {
            by: relay::Side::Server,
            ..
        })) => (crate::outcome::UPSTREAM_GONE, "upstream_remote_disconnect"),
        Err(said) => (said.flags, said.details),
    };
    let ended = Ended {
        began,
        duration: started.elapsed(),
        flags,
        details,
        denial,
        target,
        received: counters.from_client(),
        sent: counters.from_server(),
    };
    access_line::connection(&downstream, &ended);
}

type Reached = (Target, Connection, crate::upstream::balance::Active);

async fn reach(downstream: &Downstream) -> Result<Reached, (Option<Target>, Failure)> {
    let worker = &downstream.worker;
    let cluster = destination(downstream).map_err(|failure| (None, failure))?;
    let mut tried = SmallVec::<[_; TRIES]>::new();
    let mut last = None;
    loop {
        let wish = Wish {
            dialled: downstream.dialled(),
            named: None,
        };
        let to = (&cluster, wish);
        let (target, active) = endpoints::choose(&worker.upstreams, to, &tried)
            .map_err(|failure| (last.take(), failure))?;
        match connect(&worker.upstreams, &target, Some(downstream.client)).await {
            Ok(connection) => return Ok((target, connection, active)),
            Err(failure) => {
                let again = tried.contains(&target.workload.uid);
                tried.push(target.workload.uid.clone());
                if again || tried.len() >= TRIES {
                    return Err((Some(target), Failure::Connect(failure)));
                }
                last = Some(target);
            }
        }
    }
}

fn destination(downstream: &Downstream) -> Result<ClusterName, Failure> {
    let worker = &downstream.worker;
    let view = worker.state.load();
    let port = downstream.local.port();
    let router = downstream.addressed.router(&view, (port, ""));
    let route = router
        .as_ref()
        .ok_or(Failure::NotConfigured)?
        .tcp
        .first()
        .ok_or(Failure::NoRoute)?;
    let chosen = select::weighted(&route.clusters, &mut *worker.rng());
    chosen
        .map(|c| c.cluster.clone())
        .ok_or(Failure::NoDestination)
}

/// Relays until the end, or until it is `revoked`: then `None`, and both sides are reset.
async fn carry(
    io: HboneIo,
    connection: Connection,
    (counters, cells): (&Counters, &TrafficCells),
    mut revoked: impl FnMut() -> bool,
) -> Option<RelayEnd> {
    let mut relayed = pin!(async {
        match connection {
            Connection::Hbone(stream) => relay::run(io, stream, counters).await,
            Connection::Tcp(tcp) => relay::run(io, tcp, counters).await,
        }
    });
    let mut counted = (0, 0);
    let mut count = || {
        let now = (counters.from_client(), counters.from_server());
        cells.received(now.0 - counted.0);
        cells.sent(now.1 - counted.1);
        counted = now;
    };
    loop {
        tokio::select! {
            end = &mut relayed => {
                count();
                return Some(end);
            }
            () = tokio::time::sleep(CHECK_EVERY) => {
                count();
                if revoked() {
                    return None;
                }
            }
        }
    }
}

fn series(
    downstream: &Downstream,
    target: Option<&Target>,
    flags: &'static str,
) -> Arc<TrafficCells> {
    let destination = target.map_or_else(Peer::default, |t| {
        let proved = t.is_tunnelled().then(|| t.workload.identity.clone());
        Peer::of(&t.workload).with_principal(proved)
    });
    let labels = TrafficLabels {
        source: downstream.source.clone(),
        destination,
        service: downstream.addressed.labels(),
        response_flags: flags,
        security: SecurityPolicy::MutualTls,
        ..TrafficLabels::tcp(Reporter::Waypoint)
    };
    downstream.worker.series.traffic.resolve(&labels)
}
