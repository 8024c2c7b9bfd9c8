//! Before and around HTTP: handshakes that stall, peers from elsewhere, CONNECTs to nowhere.

use crate::attacker::{closed, crowd};
use crate::frames::{self, END_HEADERS, Kind, OPENING};
use crate::raider::connect;
use crate::siege::{AUTHORITY, Siege, siege};
use crate::stage::REVIEWS;
use ambit_harness::demo::scene::BOOKINFO;
use anyhow::{Result, ensure};
use http::{Request, StatusCode};

/// Counter of what never came to be.
const REFUSED: &str = "ambit_connections_refused_total";
/// Connections of an onslaught: as many as one address may have in their handshake at one worker, which may
/// get them all.
const BURST: usize = 64;
/// Onslaughts of those who are refused at once.
const TIMES: usize = 4;
/// More than one address may have at all workers of a lab's waypoint.
const TOO_MANY: usize = 300;
/// CONNECTs of each of ten tunnels.
const TUNNELS: usize = 10;
const EACH: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stall_or_come_from_elsewhere_end_by_name() -> Result<()> {
    let Some(siege) = siege("wptls").await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| {
            tcp_without_a_word(siege).await?;
            for _ in 0..TIMES {
                strangers(siege).await?;
            }
            tls_without_a_word(siege).await
        })
        .await
}

async fn tcp_without_a_word(siege: &Siege) -> Result<()> {
    let attacker = siege.attacker()?;
    let before = siege.before(REFUSED, "tls").await?;
    crowd(BURST, |_| {
        let attacker = attacker.clone();
        async move { closed(attacker.tcp().await?).await }
    })
    .await?;
    let words = ["no tunnel from the peer", "TLS handshake not done after"];
    before.named(BURST, &words).await
}

async fn strangers(siege: &Siege) -> Result<()> {
    let attacker = siege.attacker()?;
    let before = siege.before(REFUSED, "tls").await?;
    let stranger = siege
        .authority()?
        .client("spiffe://elsewhere.example/ns/outside/sa/default")?;
    crowd(BURST, |_| {
        let opening = OPENING.to_vec();
        attacker.clone().says_within(stranger.clone(), opening)
    })
    .await?;
    let words = ["no tunnel from the peer", "the peer's identity was refused"];
    before.named(BURST, &words).await
}

async fn tls_without_a_word(siege: &Siege) -> Result<()> {
    let before = siege.before(REFUSED, "h2").await?;
    let raider = siege.raider()?;
    crowd(BURST, |_| {
        let raider = raider.clone();
        async move { closed(raider.attacker.tls(&raider.tls).await?).await }
    })
    .await?;
    let words = ["no tunnel from the peer", "HTTP/2 handshake not done after"];
    before.named(BURST, &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_handshakes_than_an_address_may_have_are_refused_and_keep_nobody_else_out()
-> Result<()> {
    let Some(siege) = siege("wpcrowd").await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| {
            let attacker = siege.attacker()?;
            let late = siege.before(REFUSED, "tls").await?;
            let refused = siege.before(REFUSED, "handshake-budget").await?;
            let stall = crowd(TOO_MANY, |_| {
                let attacker = attacker.clone();
                async move { closed(attacker.tcp().await?).await }
            });
            let meanwhile = async {
                let words = ["tunnels refused", "handshake-budget"];
                refused.named(1, &words).await?;
                // Somebody the waypoint has not heard of, in the first round.
                let url = format!("{REVIEWS}/reviews/0");
                let asks = ["-n", "20", &url];
                let lab = &siege.stage.lab;
                let answers = lab.http(BOOKINFO, "productpage-v1", &asks).await?;
                ensure!(answers.ok() == 20, "{answers:?}");
                Ok(())
            };
            tokio::try_join!(stall, meanwhile)?;
            let words = ["no tunnel from the peer", "TLS handshake not done after"];
            late.named(BURST, &words).await
        })
        .await
}

/// Requests that are all answered alike.
async fn all_answered(
    siege: &Siege,
    request: Request<()>,
    expected: (StatusCode, &'static str),
    words: &[&str],
) -> Result<()> {
    let before = siege.before(REFUSED, expected.1).await?;
    let raider = siege.raider()?;
    crowd(TUNNELS, |_| {
        let (raider, request) = (raider.clone(), request.clone());
        async move {
            let mut tunnel = raider.tunnel().await?;
            for _ in 0..EACH {
                let (status, reason, _stream) = tunnel.ask(request.clone()).await?;
                ensure!((status, reason.as_str()) == expected, "{status} {reason}");
            }
            Ok(())
        }
    })
    .await?;
    before.named(TUNNELS * EACH, words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_that_cannot_be_served_are_answered_with_their_reason() -> Result<()> {
    let Some(siege) = siege("wpconnect").await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| all_cannot_be_served(siege).await)
        .await
}

async fn all_cannot_be_served(siege: &Siege) -> Result<()> {
    let bad = (StatusCode::BAD_REQUEST, "bad-request");
    let words = ["stream refused", "10.1.2:99999", "is not ip:port"];
    all_answered(siege, connect("10.1.2:99999"), bad, &words).await?;
    let get = Request::get(format!("https://{AUTHORITY}/")).body(())?;
    let words = ["stream refused", "method GET is not CONNECT"];
    all_answered(siege, get, bad, &words).await?;

    let not_served = (StatusCode::SERVICE_UNAVAILABLE, "not-served");
    // A Service of another waypoint or of none, a port that reviews has not, the API server's address.
    for authority in ["10.96.1.4:9080", "10.96.1.3:9999", "10.96.0.1:443"] {
        let words = ["stream refused", authority, "not-served"];
        all_answered(siege, connect(authority), not_served, &words).await?;
    }
    // A pod that has no waypoint.
    let pod = siege.stage.lab.pod_address("bookinfo", "details-v1");
    if let Some(pod) = pod {
        let authority = format!("{pod}:9080");
        let words = ["stream refused", &authority, "not-served"];
        all_answered(siege, connect(&authority), not_served, &words).await?;
    }

    let mut large = connect(AUTHORITY);
    large
        .headers_mut()
        .insert("baggage", "a".repeat(80 << 10).try_into()?);
    let too_large = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers");
    let words = ["stream refused", "bytes of headers, at most 65536 are read"];
    all_answered(siege, large, too_large, &words).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_that_flood_or_reset_without_end_are_sent_away() -> Result<()> {
    let Some(siege) = siege("wpflood").await? else {
        return Ok(());
    };
    let block = frames::connect(AUTHORITY);
    let mut resets = OPENING.to_vec();
    for stream in (1..4000).step_by(2) {
        resets.extend(frames::frame(Kind::Headers, END_HEADERS, stream, &block));
        resets.extend(frames::frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut flood = OPENING.to_vec();
    flood.extend(frames::frame(Kind::Headers, 0, 1, &block));
    let more = frames::header("x-flood", &[b'a'; 100]).repeat(100);
    for _ in 0..200 {
        flood.extend(frames::frame(Kind::Continuation, 0, 1, &more));
    }
    siege
        .withstands(async |siege| {
            all_sent_away(siege, &resets).await?;
            all_sent_away(siege, &flood).await
        })
        .await
}

async fn all_sent_away(siege: &Siege, bytes: &[u8]) -> Result<()> {
    let raider = siege.raider()?;
    let before = siege.before(REFUSED, "h2").await?;
    crowd(TUNNELS, |_| {
        let (attacker, tls) = (raider.attacker.clone(), raider.tls.clone());
        attacker.says_within(tls, bytes.to_vec())
    })
    .await?;
    let words = [
        "tunnel of the peer failed",
        "the peer broke the HTTP/2 protocol",
    ];
    before.named(TUNNELS, &words).await
}
