//! "Request routing": everybody to one version, one user to another.

use anyhow::{Result, ensure};

use crate::door::Door;
use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, exactly, script};
use crate::wait::until;

const SUBSETS: &str = "bookinfo/networking/destination-rule-all.yaml";
pub(super) const ALL_V1: &str = "bookinfo/networking/virtual-service-all-v1.yaml";
pub(super) const JASON: &str = "bookinfo/networking/virtual-service-reviews-test-v2.yaml";
const GATEWAY: &str = "bookinfo/gateway-api/bookinfo-gateway.yaml";
/// What a version of reviews leaves on the page.
const VERSION: &str = "reviews-v[0-9]";

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply_sample("default", SUBSETS)?;
    site.apply_sample("default", ALL_V1)?;
    let all_v1 = |pages| exactly([("reviews-v1", pages)]);
    until("nothing but v1", || {
        let seen = pages(site, 10, "", VERSION)?;
        ensure!(seen == all_v1(10), "{seen:?}");
        Ok(())
    })?;
    let seen = pages(site, 50, "", VERSION)?;
    ensure!(seen == all_v1(50), "{seen:?}");
    saw(&format!("virtual-service-all-v1: 50 pages with {seen:?}"));
    site.apply_sample("default", JASON)?;
    let all_v2 = |pages| exactly([("reviews-v2", pages)]);
    until("v2 for jason", || {
        let seen = pages(site, 5, "jason", VERSION)?;
        ensure!(seen == all_v2(5), "{seen:?}");
        Ok(())
    })?;
    let jason = pages(site, 50, "jason", VERSION)?;
    let others = pages(site, 50, "other", VERSION)?;
    let nobody = pages(site, 50, "", VERSION)?;
    ensure!(
        jason == all_v2(50) && others == all_v1(50) && nobody == all_v1(50),
        "{jason:?} {others:?} {nobody:?}"
    );
    saw(&format!(
        "virtual-service-reviews-test-v2: jason sees {jason:?}, others {others:?}"
    ));
    browser(site)
}

/// The same as somebody who signs in on the page.
fn browser(site: &Site) -> Result<()> {
    site.apply_sample("default", GATEWAY)?;
    let ours = "networking.istio.io/service-type=ClusterIP";
    site.kubectl(&["annotate", "gateway", "bookinfo-gateway", ours])?;
    site.kubectl(&[
        "wait",
        "--for=condition=Programmed",
        "gateway/bookinfo-gateway",
        "--timeout=60s",
    ])?;
    let door = Door::open(site, "default", "bookinfo-gateway-istio")?;
    until("the page by the gateway", || {
        let page = door.get("/productpage")?;
        ensure!(
            page.ends_with("\n200") && page.contains("reviews-v1"),
            "{page}"
        );
        Ok(())
    })?;
    let form = ["-D", "-", "-o", "/dev/null", "-d", "username=jason&passwd="];
    let answer = door.curl(&form, "/login")?;
    let cookie = answer.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("set-cookie: ")
            .map(str::to_owned)
    });
    let cookie = cookie.unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default();
    ensure!(
        answer.starts_with("HTTP/1.1 302") && !cookie.is_empty(),
        "{answer}"
    );
    let page = door.curl(&["-b", cookie], "/productpage")?;
    ensure!(page.contains("reviews-v2"), "{page}");
    saw("signed in as jason in a browser: reviews-v2; before: reviews-v1");
    site.delete_sample("default", GATEWAY).map(drop)
}

/// Loads the page so many times as a user (`""`: nobody): what each shows of a pattern, `none` if nothing.
pub(super) fn pages(site: &Site, count: u32, user: &str, pattern: &str) -> Result<Tally> {
    let header = match user {
        "" => String::new(),
        user => format!("-H 'end-user: {user}'"),
    };
    let page = format!("curl -s --max-time 15 {header} {}", super::PAGE);
    let one = format!("{page} | grep -om1 '{pattern}' | head -n1 | grep . || echo none");
    script(
        site,
        "default",
        &format!("for i in $(seq {count}); do {one}; done"),
    )
}
