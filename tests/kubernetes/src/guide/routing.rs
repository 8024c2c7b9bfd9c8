//! Routes of a service with a waypoint.

use anyhow::{Result, ensure};

use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, exactly, script, split};
use crate::wait::until;

/// Of the directory of samples.
const SPLIT: &str = "bookinfo/gateway-api/route-reviews-90-10.yaml";
const BY_HEADER: &str = include_str!("../manifests/jason-sees-v2.yaml");
/// The guide's own loop, from page to page.
const PAGES: &str = "for i in $(seq 1 100); do curl -s http://productpage:9080/productpage | grep -o 'reviews-v.'; done";

/// Requests of the split; each goes to v2 with [`SHARE`].
const REQUESTS: u32 = 500;
const SHARE: f64 = 0.1;
/// Requests of each kind for the header.
const EACH: u32 = 100;

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply_sample("default", SPLIT)?;
    until("no v3 any more", || {
        let seen = versions(site, 20, "")?;
        ensure!(!seen.contains_key("reviews-v3"), "{seen:?}");
        Ok(())
    })?;
    let pages = script(site, "default", PAGES)?;
    let off = split(&pages, "reviews-v1", ("reviews-v2", SHARE), 100)?;
    saw(&format!(
        "the guide's 100 pages: {pages:?}, {off:.1} sigma off"
    ));
    let seen = versions(site, REQUESTS, "")?;
    let off = split(&seen, "reviews-v1", ("reviews-v2", SHARE), REQUESTS)?;
    saw(&format!(
        "90/10 over {REQUESTS} requests: {seen:?}, {off:.1} sigma off"
    ));
    site.apply(BY_HEADER)?;
    let all_v3 = |requests| exactly([("reviews-v3", requests)]);
    until("the route by header", || {
        let seen = versions(site, 20, "")?;
        ensure!(seen == all_v3(20), "{seen:?}");
        Ok(())
    })?;
    let jason = versions(site, EACH, "-H 'end-user: jason'")?;
    let others = versions(site, EACH, "-H 'end-user: other'")?;
    ensure!(
        jason == exactly([("reviews-v2", EACH)]) && others == all_v3(EACH),
        "{jason:?} {others:?}"
    );
    saw(&format!("with the header {jason:?}, without {others:?}"));
    Ok(())
}

/// Which versions answered requests to reviews, one after the other on one connection.
pub(crate) fn versions(site: &Site, requests: u32, more: &str) -> Result<Tally> {
    let url = format!("http://reviews:9080/reviews/[1-{requests}]");
    // A line for an answer that names none, too.
    let words = "grep -o 'reviews-v.\\|^none'";
    let one = format!("curl -s -w '\\nnone\\n' --max-time 10 {more} '{url}'");
    let seen = script(site, "default", &format!("{one} | {words}"))?;
    let named = named(&seen);
    ensure!(
        seen.get("none") == Some(&requests) && named.values().sum::<u32>() == requests,
        "{requests} requests, but {seen:?}"
    );
    Ok(named)
}

/// Without the lines that only count answers.
fn named(seen: &Tally) -> Tally {
    let mut named = seen.clone();
    named.remove("none");
    named
}
