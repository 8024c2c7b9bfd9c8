//! A client outside the mesh keeps many plain connections to a pod, and makes new ones.
//! The proxy dials the application in the client's name, so both kinds meet in the pod's namespace.

use ambit_behaviours::{can_run, joined};
use ambit_harness::client::HttpSummary;
use ambit_harness::lab::finish;
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

/// By the Service: the client's kernel then picks ports for another destination than the proxy does.
const DETAILS: &str = "http://details.bookinfo:9080/details/0";

#[tokio::test(flavor = "multi_thread")]
async fn many_kept_connections_of_a_plain_client_do_not_stand_in_the_way_of_its_new_ones()
-> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("ports").await?;
    let kept = [
        "bookinfo",
        "client",
        "-k",
        "-c",
        "200",
        "--until-signal",
        "--interval-ms",
        "500",
        DETAILS,
    ];
    let kept = lab.start_in("outside", "outsider", kept).await?;
    for _ in 0..3 {
        let new = ["-n", "1500", "-c", "4", DETAILS];
        let new = lab.http("outside", "outsider", &new).await?;
        ensure!(new.ok() == 1500 && new.connections == 1500, "{new:?}");
    }
    kept.signal(Signal::SIGTERM);
    let kept: HttpSummary = finish(kept).await?.summary()?;
    ensure!(
        kept.connections <= 200 && kept.errors.is_empty(),
        "{kept:?}"
    );
    lab.down().await;
    Ok(())
}
