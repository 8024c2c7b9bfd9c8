//! Before there is a tunnel: TLS and the start of HTTP/2.

use crate::attacker::{crowd, queue};
use crate::certificates::{Authority, anonymous};
use crate::siege::{BURST, siege};
use anyhow::Result;

/// A record that promises a ClientHello of 512 bytes and holds its first four.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";

/// Attackers at once whose TLS handshakes are to succeed.
const AT_ONCE: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_tls_is_refused_as_a_broken_protocol() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let attacker = siege.attacker()?;
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            let garbage = |i: usize| {
                (0..600)
                    .map(|at| (at * 31 + i * 7) as u8)
                    .collect::<Vec<_>>()
            };
            crowd(BURST, |i| attacker.clone().says(garbage(i))).await?;
            before
                .named(
                    BURST,
                    &["no tunnel from the peer", "the peer broke the TLS protocol"],
                )
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_refused_by_that_name() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (attacker, nobody) = (siege.attacker()?, anonymous());
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            crowd(BURST, |_| {
                attacker.clone().says_within(nobody.clone(), Vec::new())
            })
            .await?;
            before
                .named(BURST, &["the peer presented no certificate"])
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused_whatever_it_claims() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let attacker = siege.attacker()?;
    let forged = Authority::foreign()?.client("spiffe://cluster.local/ns/town/sa/client")?;
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            crowd(BURST, |_| {
                attacker.clone().says_within(forged.clone(), Vec::new())
            })
            .await?;
            before
                .named(
                    BURST,
                    &["the peer's certificate does not chain to our roots"],
                )
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_of_another_trust_domain_is_refused_and_both_are_named() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let attacker = siege.attacker()?;
    let lab = Authority::of_lab(&siege.town.lab.run_dir())?;
    let stranger = lab.client("spiffe://elsewhere.example/ns/town/sa/client")?;
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            crowd(BURST, |_| {
                attacker.clone().says_within(stranger.clone(), Vec::new())
            })
            .await?;
            let words = [
                "spiffe://elsewhere.example/ns/town/sa/client",
                "is not of trust domain cluster.local",
            ];
            before.named(BURST, &words).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_an_identity_is_refused() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let attacker = siege.attacker()?;
    let lab = Authority::of_lab(&siege.town.lab.run_dir())?;
    let named = [
        lab.client("https://town.example/client")?,
        lab.client("spiffe://cluster.local/pod/client")?,
    ];
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            crowd(BURST, |i| {
                attacker
                    .clone()
                    .says_within(named[i % 2].clone(), Vec::new())
            })
            .await?;
            let words = ["the peer's certificate has no SPIFFE id"];
            before.named(BURST, &words).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_tls_handshake_ends_at_its_deadline() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let attacker = siege.attacker()?;
    siege
        .withstands(async |siege| {
            let before = siege.before("tls", "TLS_FAILURE").await?;
            crowd(BURST, |i| {
                // Every other one does not even begin.
                let said = if i % 2 == 0 { HALF_A_HELLO } else { &[] };
                attacker.clone().says(said.to_vec())
            })
            .await?;
            before
                .named(BURST, &["TLS handshake not done after 10s"])
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_handshakes_than_a_pod_may_have_are_refused_at_once() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (most, more) = (1024, 100);
    let attacker = siege.attacker()?;
    siege
        .withstands(async |siege| {
            let budget = siege.before("handshake-budget", "TLS_FAILURE").await?;
            let late = siege.before("tls", "TLS_FAILURE").await?;
            crowd(most + more, |_| {
                attacker.clone().says(HALF_A_HELLO.to_vec())
            })
            .await?;
            budget
                .named(1, &["too many handshakes in progress for this pod"])
                .await?;
            late.named(most / 2, &["TLS handshake not done after 10s"])
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_http2_is_refused_as_a_broken_protocol() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (attacker, insider) = (siege.attacker()?, siege.insider()?);
    siege
        .withstands(async |siege| {
            let before = siege.before("h2", "H2_HANDSHAKE_FAILURE").await?;
            queue(BURST, AT_ONCE, |_| {
                let garbage = b"GET / HTTP/1.1\r\nhost: echo\r\n\r\n".to_vec();
                attacker.clone().says_within(insider.clone(), garbage)
            })
            .await?;
            before
                .named(
                    BURST,
                    &["no tunnel from the peer", "no HTTP/2 with the peer"],
                )
                .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_http2_handshake_ends_at_its_deadline() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let (attacker, insider) = (siege.attacker()?, siege.insider()?);
    siege
        .withstands(async |siege| {
            let before = siege.before("h2", "H2_HANDSHAKE_FAILURE").await?;
            // Each waits for ten seconds, so they are few: what shows is a leak of 6 KiB each.
            queue(2 * AT_ONCE, AT_ONCE, |_| {
                let half_a_preface = b"PRI * HTTP/2.0\r\n".to_vec();
                attacker
                    .clone()
                    .says_within(insider.clone(), half_a_preface)
            })
            .await?;
            before
                .named(2 * AT_ONCE, &["HTTP/2 handshake not done after 10s"])
                .await
        })
        .await
}
