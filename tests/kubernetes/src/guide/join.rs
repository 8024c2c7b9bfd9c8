//! The mesh comes, and pods join.

use anyhow::{Context as _, Result, ensure};

use super::{Before, PAGE};
use crate::application::{pods, untouched};
use crate::flow::{Held, Stream, ask};
use crate::mesh;
use crate::saw;
use crate::site::Site;
use crate::traces::network;
use crate::wait::until;

pub(super) fn install(site: &Site, before: &mut Before) -> Result<()> {
    let stream = Stream::start(site, PAGE)?;
    let said = mesh::install(site)?;
    let verified = site.ambit(&["verify-install"])?;
    saw(&format!(
        "{}; {}",
        said.lines().last().unwrap_or_default(),
        verified.lines().last().unwrap_or_default()
    ));
    for node in site.nodes()? {
        let chain = network(site, node)?;
        let last = chain["plugins"]
            .as_array()
            .and_then(|plugins| plugins.last());
        ensure!(
            last.is_some_and(|plugin| plugin["type"] == "ambit-cni"),
            "the chain of {node}: {chain}"
        );
    }
    let now = pods(site)?;
    untouched(&before.pods, &now)?;
    ensure!(
        now.values().all(|pod| pod.redirection.is_none()),
        "nobody has asked to join: {now:?}"
    );
    saw(&format!(
        "{} requests meanwhile, all answered",
        stream.all_answered()?
    ));
    Ok(())
}

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    let mut held = Held::open(site, "productpage", 9080)?;
    let stream = Stream::start(site, PAGE)?;
    label(site, "istio.io/dataplane-mode=ambient")?;
    everybody(site, Some("enabled"))?;
    untouched(&before.pods, &pods(site)?)?;
    saw(&format!(
        "{} pods enabled, none restarted",
        before.pods.len()
    ));
    held.ask().context("the connection from before")?;
    saw("the connection from before goes on");
    saw(&format!(
        "{} requests meanwhile, all answered",
        stream.all_answered()?
    ));
    let table = until("the proxies know the pods", || {
        let table = site.ambit(&[
            "ztunnel-config",
            "workload",
            "--workload-namespace",
            "default",
        ])?;
        for name in before.pods.keys() {
            let line = table.lines().find(|line| line.contains(name.as_str()));
            let line = line.with_context(|| format!("no {name} in {table}"))?;
            ensure!(line.split_whitespace().last() == Some("HBONE"), "{line}");
        }
        Ok(table)
    })?;
    saw(&format!(
        "ztunnel-config workload: {} lines with HBONE",
        table.matches(" HBONE").count()
    ));
    identities(site)
}

/// The proxies name both ends of a connection by the identities of its pods.
fn identities(site: &Site) -> Result<()> {
    let answer = ask(site, "default", PAGE, &[])?;
    ensure!(answer.status == "200", "{answer:?}");
    let line = until("a log line with both identities", || {
        let log = site.kubectl(&[
            "logs",
            "-nistio-system",
            "-lapp=ztunnel",
            "--tail=-1",
            "--prefix=false",
        ])?;
        let found = log.lines().rev().find(|line| {
            line.contains(r#"src.identity="spiffe://cluster.local/ns/default/sa/curl""#)
                && line.contains(
                    r#"dst.identity="spiffe://cluster.local/ns/default/sa/bookinfo-productpage""#,
                )
        });
        found.map(str::to_owned).context("no such line")
    })?;
    saw(line.split('\t').next_back().unwrap_or(&line));
    Ok(())
}

/// Changes a label of the namespace.
pub(super) fn label(site: &Site, change: &str) -> Result<()> {
    site.kubectl(&["label", "namespace", "default", "--overwrite", change])
        .map(drop)
}

/// Waits until every pod says so.
pub(super) fn everybody(site: &Site, word: Option<&str>) -> Result<()> {
    until("annotations", || {
        let now = pods(site)?;
        let other = now
            .iter()
            .find(|(_, pod)| pod.redirection.as_deref() != word);
        ensure!(other.is_none(), "{other:?}");
        Ok(())
    })
}
