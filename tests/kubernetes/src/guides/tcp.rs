//! tcp-echo: bytes of no protocol, by weight of nothing.
//! Routes of bytes are not built: what public manifests say of them is refused in statuses, never half done.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::setup::{available, namespace, waypoint};
use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, script};
use crate::wait::until;

const NAMESPACE: &str = "istio-io-tcp-traffic-shifting";
const APPLICATION: &str = "tcp-echo/tcp-echo-services.yaml";
const CLASSIC: &str = "tcp-echo/tcp-echo-all-v1.yaml";
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
    site.apply_sample(NAMESPACE, CLASSIC)?;
    let said = until("the refusal of spec.tcp", || {
        let name = format!("--namespace={NAMESPACE}");
        let found = site.get(&["virtualservice", "tcp-echo", &name])?;
        refusal(&found).with_context(|| format!("{}", found["status"]))
    })?;
    saw(&format!(
        "TCP routes are not built; the VirtualService's status: {said}"
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

fn refusal(found: &Value) -> Option<String> {
    let conditions = found["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .filter(|condition| condition["status"] == "False")
        .filter_map(|condition| condition["message"].as_str())
        .find(|message| message.contains("spec.tcp"))
        .map(str::to_owned)
}
