//! helloworld: two versions by weight in the mesh, by a Gateway of the Gateway API, and by a classic one.

use anyhow::{Result, ensure};

use super::setup::{available, namespace, waypoint};
use crate::door::Door;
use crate::saw;
use crate::site::Site;
use crate::tally::{Tally, script, split, tally};
use crate::wait::until;

const NAMESPACE: &str = "hello";
const SPLIT: &str = include_str!("../manifests/guides/hello-90-10.yaml");
const INGRESS: &str = include_str!("../manifests/guides/ingressgateway.yaml");
const APPLICATION: &str = "helloworld/helloworld.yaml";
const CLASSIC: &str = "helloworld/helloworld-gateway.yaml";
const GATEWAY: &str = "helloworld/gateway-api/helloworld-gateway.yaml";
const VERSIONS: &str = "helloworld/gateway-api/helloworld-versions.yaml";
const ROUTE: &str = "helloworld/gateway-api/helloworld-route.yaml";
const REQUESTS: u32 = 500;
const SHARE: f64 = 0.1;
/// What is left of an answer.
const WORDS: &str = "sed -n 's/.*version: \\(v[0-9]\\),.*/\\1/p'";

pub(super) fn run(site: &Site) -> Result<()> {
    namespace(site, NAMESPACE)?;
    site.apply_sample(NAMESPACE, APPLICATION)?;
    available(site, NAMESPACE)?;
    waypoint(site, NAMESPACE)?;
    in_the_mesh(site)?;
    by_gateway(site)?;
    by_classic_gateway(site)?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .map(drop)
}

fn in_the_mesh(site: &Site) -> Result<()> {
    let ask = |requests: u32| -> Result<Tally> {
        let url = format!("http://helloworld:5000/hello?[1-{requests}]");
        script(site, NAMESPACE, &format!("curl -s '{url}' | {WORDS}"))
    };
    until("both versions", || {
        let seen = ask(40)?;
        ensure!(seen.len() == 2, "{seen:?}");
        Ok(())
    })?;
    site.apply_in(NAMESPACE, SPLIT)?;
    until("the weights", || {
        let seen = ask(100)?;
        split(&seen, "v1", ("v2", SHARE), 100).map(drop)
    })?;
    let seen = ask(REQUESTS)?;
    let off = split(&seen, "v1", ("v2", SHARE), REQUESTS)?;
    saw(&format!(
        "VirtualService 90/10: {seen:?}, {off:.1} sigma off"
    ));
    Ok(())
}

fn by_gateway(site: &Site) -> Result<()> {
    site.apply_sample(NAMESPACE, GATEWAY)?;
    let namespace = format!("--namespace={NAMESPACE}");
    let ours = "networking.istio.io/service-type=ClusterIP";
    site.kubectl(&["annotate", &namespace, "gtw", "helloworld-gateway", ours])?;
    site.kubectl(&[
        "wait",
        &namespace,
        "--for=condition=Programmed",
        "gtw/helloworld-gateway",
        "--timeout=60s",
    ])?;
    let door = Door::open(site, NAMESPACE, "helloworld-gateway-istio")?;
    until("both versions by the gateway", || {
        let seen = hello(&door, 40)?;
        ensure!(seen.len() == 2, "{seen:?}");
        Ok(())
    })?;
    site.apply_sample(NAMESPACE, VERSIONS)?;
    site.apply_sample(NAMESPACE, ROUTE)?;
    until("the weights at the gateway", || {
        let seen = hello(&door, 100)?;
        split(&seen, "v1", ("v2", SHARE), 100).map(drop)
    })?;
    let seen = hello(&door, REQUESTS)?;
    let off = split(&seen, "v1", ("v2", SHARE), REQUESTS)?;
    saw(&format!(
        "HTTPRoute 90/10 at its gateway: {seen:?}, {off:.1} sigma off"
    ));
    site.delete_sample(NAMESPACE, GATEWAY).map(drop)
}

fn by_classic_gateway(site: &Site) -> Result<()> {
    site.apply(INGRESS)?;
    site.kubectl(&[
        "wait",
        "--namespace=istio-ingress",
        "--for=condition=Programmed",
        "gtw/istio-ingressgateway",
        "--timeout=60s",
    ])?;
    site.apply_sample(NAMESPACE, CLASSIC)?;
    let door = Door::open(site, "istio-ingress", "istio-ingressgateway-istio")?;
    until("an answer by the classic gateway", || {
        let answer = door.get("/hello")?;
        ensure!(answer.ends_with("\n200"), "{answer}");
        Ok(())
    })?;
    let seen = hello(&door, 100)?;
    ensure!(
        seen.keys().eq(["v1", "v2"]) && seen.values().sum::<u32>() == 100,
        "{seen:?}"
    );
    let other = door.get("/other")?;
    ensure!(other.ends_with("\n404"), "{other}");
    saw(&format!(
        "helloworld-gateway.yaml: {seen:?}, another path is 404"
    ));
    site.delete_sample(NAMESPACE, CLASSIC).map(drop)
}

/// Versions that answered by a gateway, every request on a connection of its own at the gateway's back.
fn hello(door: &Door<'_>, requests: u32) -> Result<Tally> {
    let lines = door.script(&format!(
        "curl -sS \"$door/hello?[1-{requests}]\" | {WORDS}"
    ))?;
    Ok(tally(&lines))
}
