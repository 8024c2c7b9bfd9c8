//! Routes of a service with a waypoint.

use anyhow::{Context as _, Result, ensure};

use crate::flow::many;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

/// Of the directory of samples.
const SPLIT: &str = "bookinfo/gateway-api/route-reviews-90-10.yaml";
const BY_HEADER: &str = include_str!("../manifests/jason-sees-v2.yaml");

/// Requests of the split; each goes to v2 with [`SHARE`].
const REQUESTS: u32 = 500;
const SHARE: f64 = 0.1;
/// Standard deviations that a count may be off.
const SIGMAS: f64 = 4.0;
/// Requests of each kind for the header.
const EACH: u32 = 100;

pub(super) fn run(site: &Site) -> Result<()> {
    let path = site.samples()?.join(SPLIT);
    site.kubectl(&["apply", "-f", path.to_str().context("a path in UTF-8")?])?;
    until("no v3 any more", || {
        let seen = count(site, 20, &[])?;
        ensure!(seen.3 == 0, "{seen:?}");
        Ok(())
    })?;
    let seen = count(site, REQUESTS, &[])?;
    let expected = f64::from(REQUESTS) * SHARE;
    let off = (f64::from(seen.2) - expected).abs();
    let sigma = (expected * (1.0 - SHARE)).sqrt();
    ensure!(seen.1 + seen.2 == REQUESTS && seen.3 == 0, "{seen:?}");
    ensure!(off <= SIGMAS * sigma, "{seen:?}, sigma {sigma:.1}");
    saw(&format!(
        "90/10 over {REQUESTS} requests: {seen:?}, {:.1} sigma off",
        off / sigma
    ));
    site.apply(BY_HEADER)?;
    until("the route by header", || {
        let seen = count(site, 20, &[])?;
        ensure!(seen.3 == 20, "{seen:?}");
        Ok(())
    })?;
    let jason = count(site, EACH, &["-H", "end-user: jason"])?;
    let others = count(site, EACH, &["-H", "end-user: other"])?;
    ensure!(
        jason == Seen(0, 0, EACH, 0) && others == Seen(0, 0, 0, EACH),
        "{jason:?} {others:?}"
    );
    saw(&format!("with the header {jason:?}, without {others:?}"));
    Ok(())
}

/// Answers: of no version, v1, v2, v3.
#[derive(Debug, PartialEq, Eq)]
struct Seen(u32, u32, u32, u32);

fn count(site: &Site, requests: u32, more: &[&str]) -> Result<Seen> {
    let bodies = many(
        site,
        &format!("http://reviews:9080/reviews/[1-{requests}]"),
        more,
    )?;
    let of = |version: &str| -> Result<u32> {
        let pod = format!("\"podname\":\"reviews-{version}-");
        Ok(u32::try_from(bodies.matches(&pod).count())?)
    };
    let (one, two, three) = (of("v1")?, of("v2")?, of("v3")?);
    let none = requests.saturating_sub(one + two + three);
    Ok(Seen(none, one, two, three))
}
