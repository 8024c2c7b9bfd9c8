//! A second control plane beside the first, a tag that moves from one to the other, and the second one's end.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{DETAILS, said, through_the_waypoint};
use crate::flow::Stream;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const NAMESPACE: &str = "--namespace=istio-system";
const PROD: [&str; 3] = ["tag", "set", "prod"];

/// Policies of one revision, and of one that nobody has.
const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: of-canary, namespace: default, labels: {istio.io/rev: canary}}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [nowhere]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: of-nobody, namespace: default, labels: {istio.io/rev: nobody}}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [nowhere]}}]}]}
";

pub(super) fn beside(site: &Site) -> Result<()> {
    let canary = [
        "install",
        "--profile",
        "minimal",
        "--set",
        "revision=canary",
    ];
    let made = site.ambit(&canary)?;
    ensure!(!made.contains("deleted"), "{made}");
    for more in [&[][..], &["--revision", "canary"]] {
        let verified = said(site, &[&["verify-install"], more].concat())?;
        ensure!(verified.code == Some(0), "{more:?}: {}", verified.text);
    }
    site.ambit(&[&PROD[..], &["--revision", "default"]].concat())?;
    site.kubectl(&["label", "gateway", "waypoint", "istio.io/rev=prod"])?;
    acts(site)?;

    let stream = Stream::start(site, DETAILS)?;
    let moved = [&PROD[..], &["--revision", "canary"]].concat();
    let refused = said(site, &moved)?;
    ensure!(
        refused.code == Some(2) && refused.text.contains("--overwrite"),
        "{:?}: {}",
        refused.code,
        refused.text
    );
    site.ambit(&[&moved[..], &["--overwrite"]].concat())?;
    asks(site, "istiod-canary")?;
    through_the_waypoint(site)?;
    let tags: Value = serde_json::from_str(&site.ambit(&["tag", "list", "-o", "json"])?)?;
    ensure!(
        tags[0]["tag"] == "prod" && tags[0]["revision"] == "canary",
        "{tags}"
    );
    site.ambit(&[&PROD[..], &["--revision", "default", "--overwrite"]].concat())?;
    asks(site, "istiod")?;
    let answered = stream.all_answered()?;
    saw(&format!(
        "there and back: {answered} requests, all answered"
    ));

    site.ambit(&["tag", "remove", "prod"])?;
    site.kubectl(&["label", "gateway", "waypoint", "istio.io/rev-"])?;
    site.delete(POLICIES)?;
    let gone = site.ambit(&["uninstall", "--revision", "canary", "--yes"])?;
    saw(gone.lines().last().unwrap_or_default());
    let left = site.get(&[NAMESPACE, "deployments,services,configmaps,leases"])?;
    let left = left["items"].as_array().context("a list")?;
    let names = left.iter().filter_map(|o| o["metadata"]["name"].as_str());
    let of_canary: Vec<&str> = names.filter(|name| name.contains("canary")).collect();
    ensure!(of_canary.is_empty(), "{of_canary:?} stay");
    let verified = said(site, &["verify-install"])?;
    ensure!(verified.code == Some(0), "{}", verified.text);
    through_the_waypoint(site)
}

/// Each policy is told by its own revision alone, and reaches proxies of that one.
fn acts(site: &Site) -> Result<()> {
    site.apply(POLICIES)?;
    let condition = |name: &str| -> Result<bool> {
        let policy = site.get(&["authorizationpolicies.security.istio.io", name])?;
        Ok(policy["status"]["conditions"].is_array())
    };
    until("the canary says what it makes of its own", || {
        ensure!(condition("of-canary")?, "nothing is said");
        Ok(())
    })?;
    ensure!(!condition("of-nobody")?, "nobody acts on it");
    let known = site.ambit(&["ztunnel-config", "policy", "--node", "n1"])?;
    ensure!(!known.contains("of-"), "{known}");
    Ok(())
}

/// Waits until the waypoint's pods ask this Service, all of them.
fn asks(site: &Site, service: &str) -> Result<()> {
    let address = format!("https://{service}.istio-system.svc:15012");
    until("the waypoint asks its revision", || {
        let deployment = site.get(&["deployment", "waypoint"])?;
        let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
        let mut all = env.as_array().into_iter().flatten();
        let now = all.find(|variable| variable["name"] == "XDS_ADDRESS");
        ensure!(now.is_some_and(|now| now["value"] == *address), "{now:?}");
        Ok(())
    })?;
    let waited = ["rollout", "status", "deployment/waypoint", "--timeout=120s"];
    site.kubectl(&waited)?;
    Ok(())
}
