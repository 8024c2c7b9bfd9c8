//! A gateway in front of the application.

use anyhow::{Result, ensure};

use super::TITLE;
use crate::door::Door;
use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, exactly, tally};
use crate::wait::until;

/// Of the directory of samples.
const MANIFEST: &str = "bookinfo/gateway-api/bookinfo-gateway.yaml";
const GATEWAY: &str = "bookinfo-gateway";
/// What the controller makes of it.
const SERVICE: &str = "bookinfo-gateway-istio";
/// Reloads of the page in a browser; that one of three versions is never among them is one in ten million.
const RELOADS: u32 = 40;

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply_sample("default", MANIFEST)?;
    let ours = "networking.istio.io/service-type=ClusterIP";
    site.kubectl(&["annotate", "gateway", GATEWAY, ours])?;
    site.kubectl(&[
        "wait",
        "--for=condition=Programmed",
        "gateway",
        GATEWAY,
        "--timeout=60s",
    ])?;
    let shown = site.kubectl(&["get", "gateway", GATEWAY, "--no-headers"])?;
    let columns: Vec<&str> = shown.split_whitespace().collect();
    ensure!(
        matches!(columns[..], [GATEWAY, "istio", _, "True", _]),
        "kubectl get gateway: {shown}"
    );
    saw(shown.trim());
    answers(site)?;
    saw("the page comes by the gateway, another path is 404");
    let versions = reload(site)?;
    ensure!(
        versions.values().sum::<u32>() == RELOADS
            && versions
                .keys()
                .eq(["reviews-v1", "reviews-v2", "reviews-v3"]),
        "{versions:?}"
    );
    saw(&format!("{RELOADS} reloads of the page: {versions:?}"));
    Ok(())
}

/// The page as a browser loads it again and again: which version of reviews it shows.
fn reload(site: &Site) -> Result<Tally> {
    let door = open(site)?;
    let script = format!(
        "for i in $(seq {RELOADS}); do curl -sS $door/productpage | grep -o 'reviews-v.'; done"
    );
    Ok(tally(&door.script(&script)?))
}

/// The traffic that the guide makes for its dashboard.
pub(super) fn heads(site: &Site) -> Result<()> {
    let door = open(site)?;
    let one = "curl -sSI -o /dev/null -w '%{http_code}\\n' $door/productpage";
    let seen = tally(&door.script(&format!("for i in $(seq 1 100); do {one}; done"))?);
    ensure!(seen == exactly([("200", 100)]), "{seen:?}");
    Ok(())
}

fn open(site: &Site) -> Result<Door<'_>> {
    let door = Door::open(site, "default", SERVICE)?;
    until("the forwarded port", || door.get("/productpage"))?;
    Ok(door)
}

/// The page by the gateway, and nothing that no route leads to.
pub(super) fn answers(site: &Site) -> Result<()> {
    let door = Door::open(site, "default", SERVICE)?;
    until("the page by the gateway", || {
        let page = door.get("/productpage")?;
        ensure!(page.contains(TITLE) && page.ends_with("\n200"), "{page}");
        Ok(())
    })?;
    let other = door.get("/other")?;
    ensure!(other.ends_with("\n404"), "{other}");
    Ok(())
}

/// Takes the gateway away.
pub(super) fn remove(site: &Site) -> Result<()> {
    site.delete_sample("default", MANIFEST).map(drop)
}
