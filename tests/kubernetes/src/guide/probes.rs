//! Where only mutual TLS is accepted.

use anyhow::{Context as _, Result, ensure};

use super::Before;
use crate::application::{pods, untouched};
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const STRICT: &str = include_str!("../manifests/strict.yaml");
pub(super) const PROBED: &str = include_str!("../manifests/probed.yaml");
/// What strangers ask for.
pub(super) const DETAILS: &str = "http://details.default:9080/details/0";
/// A namespace that is not in the mesh.
pub(super) const OUTSIDE: &str = "outside";

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    site.kubectl(&["create", "namespace", OUTSIDE])?;
    site.apply_sample(OUTSIDE, "curl/curl.yaml")?;
    site.kubectl(&[
        "rollout",
        "status",
        "--namespace",
        OUTSIDE,
        "deployment/curl",
        "--timeout=60s",
    ])?;
    let stranger = ask(site, OUTSIDE, DETAILS, &[])?;
    ensure!(stranger.status == "200", "before STRICT: {stranger:?}");
    site.apply(STRICT)?;
    until("the refusal of plaintext", || {
        let stranger = ask(site, OUTSIDE, DETAILS, &[])?;
        ensure!(stranger.status == "000", "{stranger:?}");
        Ok(())
    })?;
    let member = ask(site, "default", DETAILS, &[])?;
    ensure!(member.status == "200", "{member:?}");
    saw("a pod outside the mesh is refused, one inside is answered");
    // It becomes Ready by probes of both kinds, and would be restarted without them.
    site.apply(PROBED)?;
    site.kubectl(&["rollout", "status", "deployment/probed", "--timeout=60s"])?;
    let now = pods(site)?;
    let (name, pod) = now
        .iter()
        .find(|(name, _)| name.starts_with("probed-"))
        .context("the pod")?;
    ensure!(
        pod.ready && pod.restarts == 0 && pod.redirection.as_deref() == Some("enabled"),
        "{pod:?}"
    );
    let url = format!("http://{}:9080/health", pod.ip);
    let stranger = ask(site, OUTSIDE, &url, &[])?;
    ensure!(
        stranger.status == "000",
        "only the kubelet may: {stranger:?}"
    );
    saw(&format!(
        "{name} joined by the CNI plugin and is Ready; what the kubelet asks, others may not"
    ));
    untouched(&before.pods, &now)?;
    before.pods = now;
    Ok(())
}
