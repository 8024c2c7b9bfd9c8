//! After the handshake: requests of somebody who has an identity.

use crate::attacker::{Attacker, crowd};
use crate::frames::{self, END_HEADERS, Kind, OPENING, REFUSED_STREAM};
use crate::siege::{Siege, siege};
use ambit_behaviours::town::{SOON, TOWN};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

/// Requests of a test, on tunnels of ten each.
const REQUESTS: usize = 500;
const PER_TUNNEL: usize = 10;
/// Large requests of a test: an unoptimised proxy takes a fortieth of a second to unpack one. Each is
/// 80 KiB that may not stay.
const LARGE: usize = 20;

/// Status and `x-ambit-reason`.
type Answer = (StatusCode, String);

/// A tunnel on which all `requests` are made at once; their answers.
async fn ask(
    attacker: Attacker,
    tls: Arc<ClientConfig>,
    requests: Vec<Request<()>>,
) -> Result<Vec<Answer>> {
    let stream = attacker.tls(&tls).await?;
    let (mut send, connection) = h2::client::Builder::new()
        .max_frame_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut pending = Vec::new();
    for request in requests {
        ready(&mut send).await?;
        let (answer, stream) = send.send_request(request, false)?;
        pending.push((answer, stream));
    }
    let mut answers = Vec::new();
    for (answer, _stream) in pending {
        let answer = tokio::time::timeout(SOON, answer)
            .await
            .context("no answer")??;
        let reason = answer.headers().get("x-ambit-reason");
        let reason = reason
            .and_then(|r| r.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        answers.push((answer.status(), reason));
    }
    Ok(answers)
}

async fn ready(send: &mut h2::client::SendRequest<Bytes>) -> Result<()> {
    let ready = std::future::poll_fn(|cx| send.poll_ready(cx));
    Ok(tokio::time::timeout(SOON, ready)
        .await
        .context("the tunnel takes no requests")??)
}

fn connect(authority: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse().expect("tests ask for what can be sent");
    request
}

/// `requests` like this one are all answered like that, and counted and named.
async fn all_answered(
    requests: usize,
    request: impl Fn(&Siege) -> Result<Request<()>>,
    expected: (StatusCode, &'static str),
    words: &[&str],
) -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (attacker, insider) = (siege.attacker()?, siege.insider()?);
    let request = request(&siege)?;
    siege
        .withstands(async |siege| {
            let before = siege.before(expected.1, "CONNECT").await?;
            let tunnels = crowd(requests / PER_TUNNEL, |_| {
                let requests = vec![request.clone(); PER_TUNNEL];
                ask(attacker.clone(), insider.clone(), requests)
            })
            .await?;
            for (status, reason) in tunnels.into_iter().flatten() {
                ensure!((status, reason.as_str()) == expected, "{status} {reason}");
            }
            before.named(requests, words).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_answered_with_400_and_its_method_named() -> Result<()> {
    let get = |siege: &Siege| {
        let uri = format!("https://{}/", siege.town.address(TOWN, "echo")?);
        Ok(Request::get(uri).body(())?)
    };
    let expected = (StatusCode::BAD_REQUEST, "bad-request");
    all_answered(
        REQUESTS,
        get,
        expected,
        &["stream refused", "method GET is not CONNECT"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_nobody_can_dial_is_answered_with_400_and_named() -> Result<()> {
    let nowhere = |_: &Siege| Ok(connect("10.1.2:99999"));
    let expected = (StatusCode::BAD_REQUEST, "bad-request");
    let words = ["stream refused", "10.1.2:99999", "is not ip:port"];
    all_answered(REQUESTS, nowhere, expected, &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_another_pod_is_answered_with_400_and_both_are_named() -> Result<()> {
    let near = |siege: &Siege| Ok(connect(&siege.town.address(TOWN, "near")?.to_string()));
    let expected = (StatusCode::BAD_REQUEST, "not-ours");
    all_answered(REQUESTS, near, expected, &["ip mismatch: 10.244."]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_proxy_itself_is_answered_with_503() -> Result<()> {
    let own = |siege: &Siege| {
        let mut echo = siege.town.address(TOWN, "echo")?;
        echo.set_port(15008);
        Ok(connect(&echo.to_string()))
    };
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "reserved-port");
    all_answered(
        REQUESTS,
        own,
        expected,
        &["attempted recursive call to ourselves", "15008"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_nobody_listens_on_is_answered_with_503() -> Result<()> {
    let closed = |siege: &Siege| {
        let mut echo = siege.town.address(TOWN, "echo")?;
        echo.set_port(9999);
        Ok(connect(&echo.to_string()))
    };
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "connect");
    all_answered(
        REQUESTS,
        closed,
        expected,
        &["application not reachable", "refused"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_64_kib_of_headers_are_answered_with_431() -> Result<()> {
    let large = |siege: &Siege| {
        let mut request = connect(&siege.town.address(TOWN, "echo")?.to_string());
        let baggage = "a".repeat(80 << 10).try_into()?;
        request.headers_mut().insert("baggage", baggage);
        Ok(request)
    };
    let expected = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers");
    all_answered(
        LARGE,
        large,
        expected,
        &["bytes of headers, at most 65536 are read"],
    )
    .await
}

/// What the proxy says until it closes the tunnel, as frames.
async fn until_closed(
    attacker: Attacker,
    tls: Arc<ClientConfig>,
    bytes: Vec<u8>,
) -> Result<Vec<(u8, u32, Vec<u8>)>> {
    let stream = attacker.tls(&tls).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let talk = async {
        // The proxy may close before it has heard everything.
        let _ = to.write_all(&bytes).await;
        let _ = to.flush().await;
    };
    // It may also end with a reset.
    let listen = async { drop(from.read_to_end(&mut heard).await) };
    let both = async { tokio::join!(talk, listen) };
    tokio::time::timeout(SOON, both)
        .await
        .context("still open")?;
    Ok(frames::parse(&heard))
}

/// `TUNNELS` that say `bytes` are told to go away, and named as breakers of the protocol.
async fn all_sent_away(bytes: Vec<u8>) -> Result<()> {
    const TUNNELS: usize = 20;
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (attacker, insider) = (siege.attacker()?, siege.insider()?);
    siege
        .withstands(async |siege| {
            let before = siege.before("h2", "H2_HANDSHAKE_FAILURE").await?;
            let heard = crowd(TUNNELS, |_| {
                until_closed(attacker.clone(), insider.clone(), bytes.clone())
            })
            .await?;
            let told = |frames: &Vec<(u8, u32, Vec<u8>)>| {
                frames.iter().any(|(kind, ..)| *kind == Kind::GoAway as u8)
            };
            ensure!(heard.iter().any(told), "{heard:?}");
            let words = [
                "tunnel of the peer failed",
                "the peer broke the HTTP/2 protocol",
            ];
            before.named(TUNNELS, &words).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_ends_its_tunnel() -> Result<()> {
    let mut bytes = OPENING.to_vec();
    bytes.extend(frames::frame(
        Kind::Headers,
        0,
        1,
        &frames::connect("10.1.2.3:80"),
    ));
    let more = frames::header("x-flood", &[b'a'; 100]).repeat(100);
    for _ in 0..200 {
        bytes.extend(frames::frame(Kind::Continuation, 0, 1, &more));
    }
    all_sent_away(bytes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_as_fast_as_they_are_opened_end_their_tunnel() -> Result<()> {
    let mut bytes = OPENING.to_vec();
    for stream in (1..4000).step_by(2) {
        let block = frames::connect("10.1.2.3:80");
        bytes.extend(frames::frame(Kind::Headers, END_HEADERS, stream, &block));
        bytes.extend(frames::frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes()));
    }
    all_sent_away(bytes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_of_a_tunnel_are_refused_and_may_be_repeated() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| {
            let before = siege.before("stream-limit", "CONNECT").await?;
            let (attacker, insider) = (siege.attacker()?, siege.insider()?);
            let authority = siege.town.address(TOWN, "echo")?.to_string();
            beyond_the_limit(&attacker, &insider, &authority).await?;
            let words = ["the tunnel carries 200 streams, further ones are refused"];
            before.named(1, &words).await
        })
        .await
}

/// Opens more streams than a tunnel may carry, and waits until all that are too many are refused.
async fn beyond_the_limit(
    attacker: &Attacker,
    insider: &Arc<ClientConfig>,
    authority: &str,
) -> Result<()> {
    const LIMIT: usize = 200;
    const MORE: usize = 50;
    let mut stream = attacker.tls(insider).await?;
    stream.write_all(OPENING).await?;
    for id in (1..).step_by(2).take(LIMIT + MORE) {
        let block = frames::connect(authority);
        stream
            .write_all(&frames::frame(Kind::Headers, END_HEADERS, id, &block))
            .await?;
    }
    stream.flush().await?;
    let mut heard = Vec::new();
    let refused = async {
        loop {
            let frames = frames::parse(&heard);
            let code = REFUSED_STREAM.to_be_bytes();
            let refused = frames
                .iter()
                .filter(|(kind, _, payload)| *kind == Kind::Reset as u8 && *payload == code);
            if refused.count() == MORE {
                return anyhow::Ok(());
            }
            ensure!(stream.read_buf(&mut heard).await? > 0, "closed: {frames:?}");
        }
    };
    let done = tokio::time::timeout(SOON, refused).await;
    done.context("not all refused")?
}
