//! A waypoint that goes while a service names it: whoever asks is refused until there is one again.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{get, is_marked, kinds};
use crate::load;
use crate::saw;
use crate::site::Site;
use crate::wait::until;
use crate::wire::Wire;

const KIND: &str = "gateways.gateway.networking.k8s.io";

pub(super) fn waypoint_goes(site: &Site, _: &Wire) -> Result<()> {
    let mark = load::now()?;
    site.kubectl(&[load::NAMESPACE, "delete", "gateway", "waypoint"])?;
    refused(site)?;
    others_go_on(site, mark)?;
    site.apply(load::WAYPOINT)?;
    answered_again(site)
}

/// The kind goes, and the waypoint with it.
pub(super) fn kind_goes(site: &Site, _: &Wire) -> Result<()> {
    let mark = load::now()?;
    let kind = definition(site)?;
    site.kubectl(&["delete", "customresourcedefinition", KIND])?;
    refused(site)?;
    others_go_on(site, mark)?;
    site.apply(&kind.to_string())?;
    kinds::established(site, KIND)?;
    until("a waypoint is taken", || site.apply(load::WAYPOINT))?;
    answered_again(site)
}

/// The definition of the kind, as somebody would apply it.
fn definition(site: &Site) -> Result<Value> {
    let found = site.get(&["customresourcedefinition", KIND])?;
    Ok(json!({
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": {
            "name": KIND,
            "annotations": {
                "api-approved.kubernetes.io":
                    found["metadata"]["annotations"]["api-approved.kubernetes.io"],
            },
        },
        "spec": found["spec"],
    }))
}

/// Waits for the refusal. Until then each answer comes through the waypoint: never around it.
fn refused(site: &Site) -> Result<()> {
    let mut around = None;
    until("the refusal", || {
        let answer = get(site, "routed")?;
        if answer.status == "200" && !is_marked(&answer) {
            around = Some(answer);
            return Ok(());
        }
        ensure!(answer.status == "000", "{answer:?}");
        Ok(())
    })?;
    ensure!(around.is_none(), "around the waypoint: {around:?}");
    for _ in 0..5 {
        let answer = get(site, "routed")?;
        ensure!(answer.status == "000", "it stays refused: {answer:?}");
    }
    saw("refused; nothing went around the waypoint");
    Ok(())
}

/// What does not name the waypoint has not noticed.
fn others_go_on(site: &Site, mark: u64) -> Result<()> {
    for (stream, ended) in load::since(site, mark)? {
        ensure!(
            stream.is_routed() || ended.failures.is_empty(),
            "{stream:?}: {ended:?}"
        );
    }
    Ok(())
}

fn answered_again(site: &Site) -> Result<()> {
    until("answers by the waypoint", || {
        let answer = get(site, "routed")?;
        ensure!(is_marked(&answer), "{answer:?}");
        Ok(())
    })?;
    load::flows(site).context("after the waypoint has come back")?;
    saw("answered again, through the waypoint");
    Ok(())
}
