//! "Traffic shifting": from one version to another by weight, in both languages.

use anyhow::{Context as _, Result, ensure};

use crate::guide::routing::versions;
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, split};
use crate::wait::until;

/// The same three steps: all to v1, half to v3, all to v3.
const VIRTUAL_SERVICES: [&str; 3] = [
    "bookinfo/networking/virtual-service-all-v1.yaml",
    "bookinfo/networking/virtual-service-reviews-50-v3.yaml",
    "bookinfo/networking/virtual-service-reviews-v3.yaml",
];
const HTTP_ROUTES: [&str; 3] = [
    "bookinfo/gateway-api/route-reviews-v1.yaml",
    "bookinfo/gateway-api/route-reviews-50-v3.yaml",
    "bookinfo/gateway-api/route-reviews-v3.yaml",
];
const REQUESTS: u32 = 500;
const ONE: &str = "reviews-v1";
const OTHER: &str = "reviews-v3";

pub(super) fn run(site: &Site) -> Result<()> {
    shift(site, VIRTUAL_SERVICES)?;
    // Its last state is all to v3; a route of the other kind wins, and the loser says so.
    shift(site, HTTP_ROUTES)?;
    let reviews = site.get(&["virtualservice", "reviews"])?;
    let conditions = reviews["status"]["conditions"].as_array();
    let conditions = conditions.context("no conditions of a VirtualService")?;
    let lost = conditions
        .iter()
        .find(|condition| condition["status"] == "False")
        .with_context(|| format!("nothing says that it lost: {conditions:?}"))?;
    saw(&format!(
        "VirtualService reviews: {} {}",
        lost["type"], lost["message"]
    ));
    site.delete_sample("default", HTTP_ROUTES[2])?;
    site.delete_sample("default", VIRTUAL_SERVICES[0]).map(drop)
}

fn shift(site: &Site, [all_one, half, all_other]: [&str; 3]) -> Result<()> {
    site.apply_sample("default", all_one)?;
    all(site, ONE)?;
    site.apply_sample("default", half)?;
    until("both versions", || {
        let seen = versions(site, 40, "")?;
        ensure!(
            seen.contains_key(ONE) && seen.contains_key(OTHER),
            "{seen:?}"
        );
        Ok(())
    })?;
    let seen = versions(site, REQUESTS, "")?;
    let off = split(&seen, ONE, (OTHER, 0.5), REQUESTS)?;
    saw(&format!("{half}: {seen:?}, {off:.1} sigma off"));
    site.apply_sample("default", all_other)?;
    all(site, OTHER)
}

/// Waits until one version answers everything, then counts.
fn all(site: &Site, version: &str) -> Result<()> {
    until("one version", || {
        let seen = versions(site, 20, "")?;
        ensure!(seen == exactly([(version, 20)]), "{seen:?}");
        Ok(())
    })?;
    let seen = versions(site, 100, "")?;
    ensure!(seen == exactly([(version, 100)]), "{seen:?}");
    saw(&format!("100 requests: {seen:?}"));
    Ok(())
}
