//! Inside a tunnel: HTTP that breaks its rules or its limits.

use crate::attacker::crowd;
use crate::frames::{self, END_HEADERS, Kind, OPENING};
use crate::raider::Raider;
use crate::siege::{AUTHORITY, Siege, siege};
use anyhow::{Result, ensure};

/// Attackers at once, and what each does on its tunnel.
const RAIDERS: usize = 10;
const EACH: usize = 10;
/// Heads that each attacker leaves unfinished.
const UNFINISHED: usize = 50;

/// Counter of what is refused in a tunnel.
const MALFORMED: &str = "ambit_malformed_requests_total";

/// A message and what is to become of it.
struct Case {
    bytes: Vec<u8>,
    /// Beginning of the answer.
    answer: &'static str,
    reason: &'static str,
    word: &'static str,
}

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn case(bytes: Vec<u8>, answer: &'static str, reason: &'static str, word: &'static str) -> Case {
    Case {
        bytes,
        answer,
        reason,
        word,
    }
}

fn http1() -> Vec<Case> {
    let post = "POST /reviews/0 HTTP/1.1";
    let get = "GET /reviews/0 HTTP/1.1";
    let bad = "HTTP/1.1 400 ";
    let codec = "http1.codec_error";
    let both = "http1.content_length_and_chunked_not_allowed";
    let smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: reviews\r\n\r\n";
    let mut length_first = head(&[
        post,
        "host: reviews",
        "content-length: 5",
        "transfer-encoding: chunked",
    ]);
    length_first.extend(smuggled);
    let mut coding_first = head(&[
        post,
        "host: reviews",
        "transfer-encoding: chunked",
        "content-length: 5",
    ]);
    coding_first.extend(smuggled);
    let lengths = head(&[
        post,
        "host: reviews",
        "content-length: 5",
        "content-length: 6",
    ]);
    let mut chunk = head(&[post, "host: reviews", "transfer-encoding: chunked"]);
    chunk.extend(b"zz\r\nabc\r\n0\r\n\r\n");
    let long = format!("x-long: {}", "a".repeat(80 << 10));
    let long = head(&[get, "host: reviews", &long]);
    let many: Vec<_> = (0..600).map(|i| format!("x-{i}: 1")).collect();
    let mut lines = vec![get, "host: reviews"];
    lines.extend(many.iter().map(String::as_str));
    let many = head(&lines);
    let hosts = head(&[get, "host: reviews", "host: ratings", "connection: close"]);
    let nul = head(&["GET /a%00 HTTP/1.1", "host: reviews", "connection: close"]);
    let large = "HTTP/1.1 431 ";
    vec![
        case(length_first, bad, "framed-twice", both),
        case(coding_first, bad, "framed-twice", both),
        case(lengths, bad, "head", codec),
        case(chunk, bad, "body", codec),
        case(
            long,
            large,
            "headers-too-large",
            "request_headers_too_large",
        ),
        case(
            many,
            large,
            "headers-too-large",
            "request_headers_too_large",
        ),
        case(hosts, bad, "host", "invalid_host"),
        case(nul, bad, "path", "path_normalization_failed"),
    ]
}

/// A crowd says the same, and each hears the same.
async fn all_refused(siege: &Siege, case: Case) -> Result<()> {
    let before = siege.before(MALFORMED, case.reason).await?;
    let raider = siege.raider()?;
    let heard = crowd(RAIDERS, |_| {
        let (raider, bytes) = (raider.clone(), case.bytes.clone());
        async move { repeatedly(&raider, bytes).await }
    })
    .await?;
    for answer in heard.into_iter().flatten() {
        let text = String::from_utf8_lossy(&answer).into_owned();
        ensure!(text.starts_with(case.answer), "{}: {text}", case.reason);
        ensure!(text.matches("HTTP/1.1 ").count() == 1, "{text}");
    }
    let words = [" DPE ", case.word];
    before.named(RAIDERS * EACH, &words).await
}

async fn repeatedly(raider: &Raider, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let mut tunnel = raider.tunnel().await?;
    let mut heard = Vec::new();
    for _ in 0..EACH {
        let stream = tunnel.open(AUTHORITY).await?;
        heard.push(stream.says(bytes.clone()).await?);
    }
    Ok(heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_that_breaks_its_framing_or_its_limits_is_refused_by_name() -> Result<()> {
    let Some(siege) = siege("wphttp1").await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| {
            for case in http1() {
                all_refused(siege, case).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_never_finished_are_given_up_after_their_time() -> Result<()> {
    let Some(siege) = siege("wploris").await? else {
        return Ok(());
    };
    siege
        .withstands(async |siege| {
            let before = siege.before(MALFORMED, "head-timeout").await?;
            let raider = siege.raider()?;
            let heard = crowd(RAIDERS, |_| unfinished(raider.clone())).await?;
            for answer in heard.into_iter().flatten() {
                ensure!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
            }
            let words = ["malformed request", "reason=\"head-timeout\""];
            before.named(RAIDERS * UNFINISHED, &words).await
        })
        .await
}

/// Begins heads on one tunnel and does not finish them; what is answered.
async fn unfinished(raider: Raider) -> Result<Vec<Vec<u8>>> {
    let mut tunnel = raider.tunnel().await?;
    let mut streams = Vec::new();
    for _ in 0..UNFINISHED {
        let mut stream = tunnel.open(AUTHORITY).await?;
        let half = "GET /reviews/0 HTTP/1.1\r\nhost: reviews\r\nx-slow: ";
        stream.to.send_data(half.into(), false)?;
        streams.push(stream);
    }
    let mut heard = Vec::new();
    for stream in &mut streams {
        heard.push(stream.hears().await?);
    }
    Ok(heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_that_floods_or_resets_without_end_loses_its_connection_only() -> Result<()> {
    let Some(siege) = siege("wphttp2").await? else {
        return Ok(());
    };
    // GET, http, `/`, authority `reviews`: RFC 7541 indexed and literal fields.
    let mut get = vec![0x82, 0x86, 0x84, 0x41, 7];
    get.extend(b"reviews");
    let mut resets = OPENING.to_vec();
    for stream in (1..4000).step_by(2) {
        resets.extend(frames::frame(Kind::Headers, END_HEADERS | 1, stream, &get));
        resets.extend(frames::frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut flood = OPENING.to_vec();
    flood.extend(frames::frame(Kind::Headers, 0, 1, &get));
    let more = frames::header("x-flood", &[b'a'; 100]).repeat(100);
    for _ in 0..200 {
        flood.extend(frames::frame(Kind::Continuation, 0, 1, &more));
    }
    // Thousands of streams and megabytes of headers on few connections: a leak of a connection of
    // 4 KiB would not show, one of a stream of half a kilobyte does.
    siege
        .withstands(async |siege| {
            all_lose_their_connection(siege, &resets).await?;
            all_lose_their_connection(siege, &flood).await
        })
        .await
}

async fn all_lose_their_connection(siege: &Siege, bytes: &[u8]) -> Result<()> {
    let before = siege.before(MALFORMED, "http2").await?;
    let raider = siege.raider()?;
    crowd(RAIDERS, |_| {
        let (raider, bytes) = (raider.clone(), bytes.to_vec());
        async move {
            let mut tunnel = raider.tunnel().await?;
            tunnel.open(AUTHORITY).await?.says(bytes).await
        }
    })
    .await?;
    let words = ["malformed request", "reason=\"http2\""];
    before.named(RAIDERS, &words).await
}
