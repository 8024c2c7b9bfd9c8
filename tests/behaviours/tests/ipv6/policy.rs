//! Who may connect over IPv6.

use crate::{ECHO, all, ambit, dual};
use ambit_behaviours::town::{ECHO as ECHO_V4, OUTSIDE, SOON, TOWN, Town};
use ambit_harness::until;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv6_an_outsider_reaches_a_permissive_pod_by_its_own_address_and_not_a_strict_one()
-> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let (outsider, echo) = (
        town.address_v6(OUTSIDE, "outsider")?,
        town.address_v6(TOWN, "echo")?,
    );
    let near = town.address_v6(TOWN, "near")?;
    for to in [echo, near] {
        let summary = town.lab.tcp(OUTSIDE, "outsider", to, &["-n", "3"]).await?;
        all(&summary, 3, (outsider, to))?;
    }
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: town}\nspec: {mtls: {mode: STRICT}}\n";
    town.lab.apply("strict", strict)?;
    until("the outsider is refused", SOON, || async {
        match town.lab.tcp(OUTSIDE, "outsider", near, &[]).await {
            Ok(s) if s.connected == 0 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    // The probes of a strict pod still reach it: it stays ready.
    let ready = |pod: &str| {
        town.lab.pods()[&(TOWN.to_owned(), pod.to_owned())]
            .state
            .ready
    };
    ensure!(ready("near") && ready("echo"), "probes pass");
    let summary = town.lab.tcp(TOWN, "client", ECHO, &["-n", "3"]).await?;
    ensure!(summary.completed == 3, "identities pass: {summary:?}");
    town.lab.down().await;
    Ok(())
}

/// Waits until a connection from the client is made, or refused.
async fn wait(town: &Town, to: SocketAddr, made: bool) -> Result<()> {
    let what = format!("{to} {}", if made { "answers" } else { "refuses" });
    until(&what, SOON, || async {
        match town.lab.tcp(TOWN, "client", to, &[]).await {
            Ok(s) if (s.connected == 1) == made => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    Ok(())
}

fn policy(action: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: blocks, namespace: town}}\nspec:\n  selector: {{matchLabels: {{app: echo}}}}\n  action: {action}\n  rules:\n  - {rule}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_ipv6_blocks_and_ports_holds_and_lets_the_other_family_pass() -> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let client = town.address_v6(TOWN, "client")?.ip();
    let range = "from: [{source: {ipBlocks: ['fd00:10:244:1::/64']}}]";
    let apply = |action, rule: &str| town.lab.apply("blocks", &policy(action, rule));

    let port = "to: [{operation: {ports: ['9000']}}]";
    apply("DENY", &format!("{range}\n    {port}"))?;
    wait(&town, ECHO, false).await?;
    wait(&town, ECHO_V4, true).await?;

    let other = "to: [{operation: {ports: ['9001']}}]";
    apply("DENY", &format!("{range}\n    {other}"))?;
    wait(&town, ECHO, true).await?;

    apply(
        "ALLOW",
        "from: [{source: {ipBlocks: ['fd00:10:244:2::/64']}}]",
    )?;
    wait(&town, ECHO, false).await?;
    wait(&town, ECHO_V4, false).await?;

    apply(
        "ALLOW",
        &format!("from: [{{source: {{ipBlocks: ['{client}']}}}}]"),
    )?;
    wait(&town, ECHO, true).await?;
    wait(&town, ECHO_V4, false).await?;
    // The explanation looks at the address of the family that is dialled.
    for (to, refused) in [(ECHO, false), (ECHO_V4, true)] {
        let to = to.to_string();
        let args = [
            "explain",
            "connection",
            "--from",
            "town/client",
            "--to",
            &to,
        ];
        let told = ambit(&town, &args).await?;
        ensure!(told["refused"] == refused, "{told}");
    }
    town.lab.down().await;
    Ok(())
}
