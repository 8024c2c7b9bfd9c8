//! Upgrades (WebSocket and others): an HTTP/1.1 connection that becomes a stream of bytes.
//! In: a request that asks for it. Out: the upstream's 101 and then a relay of both connections, or
//! the upstream's refusal. Each upgrade has an upstream connection of its own and is tried once.
//! Spec: RFC 9110 section 7.8, RFC 6455.

use super::{forward, server};
use crate::filters::header_ops;
use crate::filters::retry::GaveUp;
use crate::message::body::{Body, BodyError, Purpose, Recording};
use crate::message::headers;
use crate::message::line::Line;
use crate::outcome::Failure;
use crate::record::Record;
use crate::stream_io::{ClientIn, ClientOut, StreamIo};
use crate::upstream::balance::Active;
use crate::upstream::by_host;
use crate::upstream::connect::{UpstreamIo, connect};
use crate::upstream::endpoints::{self, Wish};
use ambit_model::route::{HttpRoute, WeightedCluster};
use ambit_net::relay::{self, Counters, TcpEndpoint};
use ambit_routing::http::matching::PathMatched;
use ambit_routing::http::select;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest wait for the upstream's answer where the route has no timeout.
const ANSWER: Duration = Duration::from_secs(15);

type UpstreamParts = http1::Parts<UpstreamIo>;

/// The upstream half of an upgraded connection.
pub(crate) struct Upgraded {
    parts: UpstreamParts,
    record: Rc<Record>,
    _active: Active,
}

/// Where a request that left HTTP puts the upstream half for the server of its connection.
#[derive(Clone, Default)]
pub(super) struct Slot(Rc<RefCell<Option<Upgraded>>>);

impl Slot {
    fn put(&self, upgraded: Upgraded) {
        *self.0.borrow_mut() = Some(upgraded);
    }

    /// What was put there.
    pub(super) fn take(&self) -> Option<Upgraded> {
        self.0.borrow_mut().take()
    }
}

/// Whether a request asks to leave HTTP.
pub(crate) fn is_asked(parts: &Parts) -> bool {
    let connection = parts.headers.get_all(CONNECTION);
    let named = connection
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    parts.version == Version::HTTP_11 && named && parts.headers.contains_key(UPGRADE)
}

/// Asks the upstream.
pub(crate) async fn run(
    (record, slot): (&Rc<Record>, Slot),
    (route, clusters, matched): (&HttpRoute, &[WeightedCluster], PathMatched),
    mut line: Line,
    request: Request<Incoming>,
) -> Result<Response<Body>, GaveUp> {
    let gave_up = |failure| GaveUp {
        failure,
        retried: false,
    };
    let worker = &record.downstream.worker;
    let (mut parts, body) = request.into_parts();
    let protocol = parts
        .headers
        .get(UPGRADE)
        .cloned()
        .ok_or(gave_up(Failure::UpgradeRefused))?;
    let cluster = select::weighted(clusters, &mut *worker.rng());
    let cluster = cluster.ok_or(gave_up(Failure::NoDestination))?;
    let named = by_host::resolve(
        (&worker.upstreams, &worker.series),
        &cluster.cluster,
        &line.authority,
    )
    .await;
    let named = named.map_err(gave_up)?;
    forward::prepare(
        record,
        (route, cluster, matched),
        &mut line,
        &mut parts.headers,
    );
    line.write(&mut parts, Version::HTTP_11);
    ask(&mut parts.headers, &protocol);
    let wish = Wish {
        dialled: record.downstream.dialled(),
        named: named.as_ref(),
    };
    let to = (&cluster.cluster, wish);
    let (target, active) = endpoints::choose(&worker.upstreams, to, &[]).map_err(gave_up)?;
    record.endpoint(&target);
    let connected = connect(&worker.upstreams, &target, None).await;
    let io = connected
        .map_err(|e| gave_up(Failure::Connect(e)))?
        .into_io();
    let recording = Recording::new(body, Purpose::default());
    record.body(&recording);
    let request = Request::from_parts(parts, recording.play());
    let answer = tokio::time::timeout(route.timeout.unwrap_or(ANSWER), exchange(io, request));
    let (response, ended) = answer
        .await
        .map_err(|_| gave_up(Failure::Timeout))?
        .map_err(|()| gave_up(Failure::ResetBeforeHeaders))?;
    let (mut head, body) = response.into_parts();
    let answered = head.headers.get(UPGRADE).cloned();
    headers::strip_hop_by_hop(&mut head.headers);
    header_ops::response(route, Some(cluster), &mut head.headers);
    record.say(crate::outcome::NO_FLAGS, "via_upstream");
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let kept = Kept {
            _active: active,
            _ended: ended,
        };
        let body = body.map_err(BodyError::Source).map_frame(move |frame| {
            let _kept = &kept;
            frame
        });
        return Ok(Response::from_parts(head, Body::new(body)));
    }
    let parts = ended
        .await
        .map_err(|_| gave_up(Failure::ResetBeforeHeaders))?;
    ask(&mut head.headers, &answered.unwrap_or(protocol));
    let upgraded = Upgraded {
        parts,
        record: record.clone(),
        _active: active,
    };
    slot.put(upgraded);
    Ok(Response::from_parts(head, Body::empty()))
}

/// What a refused upgrade's body holds on to.
struct Kept {
    _active: Active,
    _ended: oneshot::Receiver<UpstreamParts>,
}

fn ask(headers: &mut http::HeaderMap, protocol: &HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol.clone());
}

/// Sends the request on a connection of its own. The receiver gets the connection once HTTP is over.
async fn exchange(
    io: UpstreamIo,
    request: Request<Body>,
) -> Result<(Response<Incoming>, oneshot::Receiver<UpstreamParts>), ()> {
    let (mut sender, connection) = http1::handshake(io).await.map_err(|_| ())?;
    let (give, ended) = oneshot::channel();
    tokio::task::spawn_local(async move {
        match connection.without_shutdown().await {
            Ok(parts) => {
                if let Err(unwanted) = give.send(parts) {
                    server::shut(unwanted.io).await;
                }
            }
            Err(error) => tracing::debug!(%error, "upstream connection failed"),
        }
    });
    let response = sender.send_request(request).await.map_err(|_| ())?;
    Ok((response, ended))
}

/// Carries bytes both ways until both sides have ended.
pub(crate) async fn relay<I: ClientIn, O: ClientOut>(client: StreamIo<I, O>, upgraded: Upgraded) {
    let Upgraded {
        parts,
        record,
        _active,
    } = upgraded;
    let counters = Counters::default();
    let _end = match parts.io {
        UpstreamIo::Hbone(io) => relay::run(client, io.with_ahead(parts.read_buf), &counters).await,
        UpstreamIo::Tcp(io) => {
            let server = StreamIo::new(TcpEndpoint(io.into_inner()));
            relay::run(client, server.with_ahead(parts.read_buf), &counters).await
        }
    };
    record.sent(counters.from_server());
    record.received(counters.from_client());
}
