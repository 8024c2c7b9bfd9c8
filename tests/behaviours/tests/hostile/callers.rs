//! Somebody who has a node proxy's token and sends the controller what is no request. Each call ends by
//! itself, by name; the proxies' own streams go on, and the controller keeps none of it.

use crate::attacker::{Attacker, crowd};
use crate::certificates::anonymous;
use crate::siege::{Siege, siege};
use crate::stand_in::{CONTROLLER, DISCOVER, ENDLESS, GARBAGE, framed};
use ambit_api::ca::IstioCertificateRequest;
use ambit_api::discovery::{DeltaDiscoveryRequest, Node};
use ambit_api::type_urls;
use ambit_behaviours::town::{SOON, node};
use ambit_harness::lab::DaemonKind;
use ambit_harness::names::xds_address;
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::task::JoinSet;

/// Connections at once, and calls on each.
const CALLERS: usize = 20;
const EACH: usize = 5;
/// Requests of one stream.
const MANY: usize = 5000;
/// One more name than a stream may subscribe to.
const TOO_MANY: usize = 100_001;
/// The method that signs certificates.
const SIGN: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Requests for certificates that were refused.
const NOT_SIGNED: &str = "citadel_server_authentication_failure_count_total";
/// More than a request for a certificate may have.
const TOO_LONG: usize = 256 << 10;
/// gRPC codes.
const INVALID_ARGUMENT: &str = "3";
const PERMISSION_DENIED: &str = "7";
const RESOURCE_EXHAUSTED: &str = "8";
/// Who the controller says it was.
const CALLER: &str = "istio-system/ztunnel on node-2";

/// What is no request: varints without an end, a field longer than its message, a frame that ends too
/// early, one that is too long, one that is compressed or says what is not defined.
const UNREADABLE: [&[u8]; 6] = [
    GARBAGE,
    b"\0\0\0\0\x02\x12\x7f",
    b"\0\0\0\0\x09\x12\x01",
    ENDLESS,
    b"\x01\0\0\0\x01a",
    b"\x07\0\0\0\x01a",
];

/// A connection to the controller.
struct Caller {
    send: SendRequest<Bytes>,
    token: String,
    _driver: JoinSet<()>,
}

/// Where the controller is, for anybody in the core, and the token of node 2's proxy.
fn way_in(siege: &Siege) -> Result<(Attacker, String)> {
    let lab = &siege.town.lab;
    let attacker = Attacker {
        netns: lab.name().core().path(),
        to: xds_address(),
    };
    let token = lab.run_dir().join(node(2).short()).join("ztunnel.token");
    let token = std::fs::read_to_string(token)?;
    Ok((attacker, token.trim().to_owned()))
}

impl Caller {
    async fn connect((attacker, token): (Attacker, String)) -> Result<Self> {
        let stream = attacker.tls(&anonymous()).await?;
        let (send, connection) = h2::client::handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ends shows in its calls.
            drop(connection.await);
        });
        Ok(Self {
            send,
            token,
            _driver: driver,
        })
    }

    /// Says `body` and nothing more; the gRPC code with which the call ends.
    async fn says(&mut self, method: &str, body: impl Into<Bytes>) -> Result<String> {
        let request = Request::post(format!("https://{CONTROLLER}{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", self.token))
            .body(())?;
        let ready = std::future::poll_fn(|cx| self.send.poll_ready(cx));
        tokio::time::timeout(SOON, ready)
            .await
            .context("no room")??;
        let (answer, mut to) = self.send.send_request(request, false)?;
        to.send_data(body.into(), true)?;
        let code = async {
            let answer = answer.await?;
            ensure!(answer.status().is_success(), "{answer:?}");
            let mut heads = answer.headers().clone();
            // A call that ends before all of it was heard has its code here.
            if let Some(code) = heads.get("grpc-status") {
                return Ok(code.to_str()?.to_owned());
            }
            let mut from = answer.into_body();
            while let Some(chunk) = from.data().await {
                from.flow_control().release_capacity(chunk?.len())?;
            }
            heads.extend(from.trailers().await?.unwrap_or_default());
            let code = heads.get("grpc-status").context("no gRPC status")?;
            Ok(code.to_str()?.to_owned())
        };
        let code = tokio::time::timeout(SOON, code).await;
        code.context("the call does not end")?
    }
}

async fn counted(siege: &Siege, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let page = siege.town.lab.controller_page("/metrics").await?;
    Ok(Scrape::parse(&page).sum(name, labels))
}

/// Waits until the controller has counted `by` more than `before`.
async fn grows(
    siege: &Siege,
    (name, labels): (&str, &[(&str, &str)]),
    before: f64,
    by: usize,
) -> Result<()> {
    until(name, SOON, || async {
        match counted(siege, name, labels).await {
            Ok(now) if now >= before + by as f64 => Ok(()),
            other => Err(format!("{other:?}, {before} before, {by} expected")),
        }
    })
    .await?;
    Ok(())
}

/// Streams of both node proxies that have ended.
async fn streams_ended(siege: &Siege) -> Result<f64> {
    let name = "istio_xds_connection_terminations_total";
    let (first, second) = (
        siege.town.counted(1, name, &[]).await?,
        siege.town.counted(2, name, &[]).await?,
    );
    Ok(first + second)
}

/// Runs `attack` until the controller needs no more memory for it: the node proxies' own streams live on
/// and tell them what is new.
async fn the_controller_withstands(
    siege: Siege,
    attack: impl AsyncFn(&Siege) -> Result<()>,
) -> Result<()> {
    let mut round = 0;
    siege
        .withstands_at(&[DaemonKind::Controller], async |siege| {
            round += 1;
            let before = streams_ended(siege).await?;
            attack(siege).await?;
            siege.in_sync(&format!("during-{round}")).await?;
            let ended = streams_ended(siege).await?;
            ensure!(ended == before, "{ended} streams have ended, not {before}");
            siege.town.works("echo").await
        })
        .await
}

/// A crowd calls `method` with each of `bodies`, again and again, and is told each time that it is invalid; how
/// often.
async fn all_invalid(siege: &Siege, method: &'static str, bodies: &[Bytes]) -> Result<usize> {
    let way = way_in(siege)?;
    crowd(CALLERS, |_| {
        let (way, bodies) = (way.clone(), bodies.to_vec());
        async move {
            let mut caller = Caller::connect(way).await?;
            for body in std::iter::repeat_n(bodies, EACH).flatten() {
                let code = caller.says(method, body.clone()).await?;
                let begins = &body[..body.len().min(8)];
                ensure!(code == INVALID_ARGUMENT, "{code} for {begins:?}");
            }
            Ok(())
        }
    })
    .await?;
    Ok(CALLERS * EACH * bodies.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_read_end_their_own_stream_by_name() -> Result<()> {
    const MALFORMED: (&str, &[(&str, &str)]) = ("ambit_xds_malformed_total", &[]);
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    the_controller_withstands(siege, async |siege| {
        let before = counted(siege, MALFORMED.0, MALFORMED.1).await?;
        let bodies = UNREADABLE.map(Bytes::from_static);
        let all = all_invalid(siege, DISCOVER, &bodies).await?;
        grows(siege, MALFORMED, before, all).await?;
        let words = ["a message of the client cannot be read", CALLER];
        siege.logged_by(DaemonKind::Controller, &words).await
    })
    .await
}

/// A proxy's request.
fn request(type_url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        node: Some(Node {
            id: "hostile".to_owned(),
            ..Node::default()
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

/// Requests that can be read, thousands of answers to what was never sent among them, and a last one
/// that cannot be served.
fn flood(last: &DeltaDiscoveryRequest) -> Vec<u8> {
    let mut stale = request(type_urls::ADDRESS);
    stale.response_nonce = "never sent".to_owned();
    let mut body = framed(&request(type_urls::ADDRESS));
    body.extend(framed(&stale).repeat(MANY));
    body.extend(framed(last));
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_what_is_not_served_or_for_too_much_end_their_own_stream_by_name() -> Result<()>
{
    const DENIED: (&str, &[(&str, &str)]) = ("ambit_xds_denied_total", &[]);
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let mut greedy = request(type_urls::ADDRESS);
    greedy.resource_names_subscribe = (0..TOO_MANY).map(|n| format!("name-{n}")).collect();
    let attacks = [
        (
            flood(&request("type.googleapis.com/nothing")),
            PERMISSION_DENIED,
            "type.googleapis.com/nothing is not served to this caller",
        ),
        (
            flood(&greedy),
            RESOURCE_EXHAUSTED,
            "more than 100000 names of",
        ),
    ];
    the_controller_withstands(siege, async |siege| {
        let way = way_in(siege)?;
        for (body, expected, words) in &attacks {
            let before = counted(siege, DENIED.0, DENIED.1).await?;
            crowd(EACH, |_| {
                let (way, body, expected) = (way.clone(), body.clone(), *expected);
                async move {
                    let code = Caller::connect(way).await?.says(DISCOVER, body).await?;
                    ensure!(code == expected, "{code}, not {expected}");
                    Ok(())
                }
            })
            .await?;
            grows(siege, DENIED, before, EACH).await?;
            let words = ["xds stream ended", words, CALLER];
            siege.logged_by(DaemonKind::Controller, &words).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_requests_that_are_none_are_not_signed_and_named() -> Result<()> {
    const REFUSED: (&str, &[(&str, &str)]) = (NOT_SIGNED, &[("reason", "csr")]);
    const ECHO: &str = "spiffe://cluster.local/ns/town/sa/echo";
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let block = |text: &str| {
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    };
    let garbage = [
        "no request at all".to_owned(),
        block("////////"),
        block(&"MIIBAAAA".repeat(4000)),
        "A".repeat(100_000),
    ];
    let bodies = garbage.map(|csr| framed(&certificate_request(csr, ECHO)).into());
    the_controller_withstands(siege, async |siege| {
        let before = counted(siege, REFUSED.0, REFUSED.1).await?;
        let all = all_invalid(siege, SIGN, &bodies).await?;
        grows(siege, REFUSED, before, all).await?;
        let words = ["request not signed", ECHO];
        siege.logged_by(DaemonKind::Controller, &words).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_requests_that_cannot_be_read_end_by_name() -> Result<()> {
    const REFUSED: (&str, &[(&str, &str)]) = (NOT_SIGNED, &[("reason", "malformed")]);
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let mut bodies = UNREADABLE.map(Bytes::from_static).to_vec();
    bodies.push(Bytes::new());
    let long = certificate_request(
        "A".repeat(TOO_LONG),
        "spiffe://cluster.local/ns/town/sa/echo",
    );
    bodies.push(framed(&long).into());
    the_controller_withstands(siege, async |siege| {
        let before = counted(siege, REFUSED.0, REFUSED.1).await?;
        let all = all_invalid(siege, SIGN, &bodies).await?;
        grows(siege, REFUSED, before, all).await?;
        let words = ["certificate refused", "malformed", CALLER];
        siege.logged_by(DaemonKind::Controller, &words).await
    })
    .await
}

/// As a node proxy asks for the identity of one of its pods.
fn certificate_request(csr: String, identity: &str) -> IstioCertificateRequest {
    let identity = Value {
        kind: Some(Kind::StringValue(identity.to_owned())),
    };
    let fields = [("ImpersonatedIdentity".to_owned(), identity)].into();
    IstioCertificateRequest {
        csr,
        metadata: Some(Struct { fields }),
        ..IstioCertificateRequest::default()
    }
}
