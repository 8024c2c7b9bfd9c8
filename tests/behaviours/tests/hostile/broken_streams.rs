//! What comes from the controller's place and is no message, to node proxies.

use crate::siege::{Siege, siege};
use crate::stand_in::{StandIn, backs_off, endless, garbage, settled};
use ambit_behaviours::town::node;
use ambit_harness::lab::DaemonKind;
use anyhow::{Result, ensure};
use tokio::time::Instant;

/// Streams that proxies open in vain before the controller is back. Each brings enough that a round would
/// show if half of what came were kept.
const IN_VAIN: f64 = 6.0;

/// Streams that ended with an error.
const ENDED: (&str, &[(&str, &str)]) = (
    "istio_xds_connection_terminations_total",
    &[("reason", "Error")],
);

/// Proxies that hear only `bytes` from their controller count and log it, come back ever more slowly, keep
/// what they have and nothing of what they heard, and follow the real controller when it is back.
async fn proxies_survive(bytes: Vec<u8>, named: &str) -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let proxies = [1, 2].map(|n| DaemonKind::Ztunnel(node(n)));
    let mut round = 0;
    siege
        .withstands_at(&proxies, async |siege| {
            round += 1;
            lied_to(siege, bytes.clone(), named).await?;
            siege.in_sync(&format!("after-{round}")).await?;
            settled(Instant::now()).await
        })
        .await
}

async fn lied_to(siege: &Siege, bytes: Vec<u8>, named: &str) -> Result<()> {
    let town = &siege.town;
    let logged = [1, 2].map(|n| town.lab.log(DaemonKind::Ztunnel(node(n))).len());
    let before = [
        town.counted(1, ENDED.0, ENDED.1).await?,
        town.counted(2, ENDED.0, ENDED.1).await?,
    ];
    town.kill(DaemonKind::Controller).await?;
    let liar = StandIn::answering(&town.lab, bytes).await?;
    // The kill itself has ended one.
    town.grows(1, ENDED, before[0], 1.0 + IN_VAIN).await?;
    town.grows(2, ENDED, before[1], 1.0 + IN_VAIN).await?;
    town.works("echo").await?;
    let words = [
        "xds stream failed",
        "a message of the xds server cannot be read",
        named,
    ];
    for (n, logged) in [(1, logged[0]), (2, logged[1])] {
        let proxy = DaemonKind::Ztunnel(node(n));
        siege.logged_since(proxy, logged, &words).await?;
        let streams = liar.asked_by(node(n).address().into());
        ensure!(streams > 0, "node {n} has not asked");
        backs_off(&town.lab.log(proxy), logged, streams)?;
    }
    liar.leaves().await;
    town.start(DaemonKind::Controller).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_sends_garbage_changes_nothing() -> Result<()> {
    proxies_survive(garbage(), "failed to decode Protobuf message").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_controller_without_end_changes_nothing() -> Result<()> {
    proxies_survive(endless(), "message length too large").await
}
