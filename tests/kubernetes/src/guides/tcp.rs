//! tcp-echo: bytes of no protocol, by weight of nothing.
//! Routes of bytes are not built: public manifests of them are refused when they are applied, never half done.

use anyhow::{Context as _, Result, ensure};

use super::setup::{available, namespace, waypoint};
use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, script};
use crate::wait::until;

const NAMESPACE: &str = "istio-io-tcp-traffic-shifting";
const APPLICATION: &str = "tcp-echo/tcp-echo-services.yaml";
const CLASSIC: &str = "tcp-echo/tcp-echo-all-v1.yaml";
/// What is said of it.
const REFUSED: &str = "denied the request: spec.tcp: not supported yet";
/// Connections at once, a line on each.
const CONNECTIONS: u32 = 40;
/// Of version 1 and version 2.
const ANSWERS: [&str; 2] = ["one hi", "two hi"];

pub(super) fn run(site: &Site) -> Result<()> {
    namespace(site, NAMESPACE)?;
    site.apply_sample(NAMESPACE, APPLICATION)?;
    available(site, NAMESPACE)?;
    both(site)?;
    saw(&format!(
        "{CONNECTIONS} connections, each with its answer, without a waypoint"
    ));
    waypoint(site, NAMESPACE)?;
    both(site)?;
    saw(&format!(
        "{CONNECTIONS} connections, each with its answer, through one"
    ));
    let taken = site.apply_sample(NAMESPACE, CLASSIC);
    let refusal = taken.err().context("a VirtualService of TCP was taken")?;
    ensure!(refusal.to_string().contains(REFUSED), "{refusal}");
    saw(&format!(
        "TCP routes are not built, the API server says {REFUSED:?}"
    ));
    both(site)?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .map(drop)
}

/// Each connection is answered by one of the two.
fn both(site: &Site) -> Result<()> {
    until("both versions", || {
        let seen = echo(site)?;
        ensure!(seen.keys().eq(ANSWERS), "{seen:?}");
        Ok(())
    })?;
    let seen = echo(site)?;
    let answers = seen.values().sum::<u32>();
    ensure!(
        seen.keys().eq(ANSWERS) && answers == CONNECTIONS,
        "{CONNECTIONS} connections, {seen:?}"
    );
    Ok(())
}

fn echo(site: &Site) -> Result<Tally> {
    // A file for each: bytes of several in one pipe would mix.
    let one = "(echo hi; sleep 2) | nc tcp-echo 9000 > /tmp/echo.$i &";
    script(
        site,
        NAMESPACE,
        &format!(
            "rm -f /tmp/echo.*; for i in $(seq {CONNECTIONS}); do {one} done; wait; cat /tmp/echo.*"
        ),
    )
}
