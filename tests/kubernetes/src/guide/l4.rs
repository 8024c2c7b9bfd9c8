//! Authorization by the node proxies.

use anyhow::{Result, ensure};

use super::{PAGE, TITLE, ingress};
use crate::command::ended;
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const OTHERS: &str = include_str!("../manifests/only-the-gateway.yaml");
/// What curl says of a connection that was reset.
const RESET: i32 = 56;
const CURL: &str = include_str!("../manifests/only-curl-and-the-waypoint.yaml");

pub(super) fn run(site: &Site) -> Result<()> {
    site.apply(OTHERS)?;
    until("the refusal", || {
        let answer = ask(site, "default", PAGE, &[])?;
        ensure!(
            answer.status == "000" && answer.body.is_empty(),
            "{answer:?}"
        );
        Ok(())
    })?;
    let mut command = site.kubectl_command(&["exec", "deploy/curl", "--", "curl", "-s", PAGE])?;
    let end = ended(&mut command)?;
    ensure!(end.status.code() == Some(RESET), "{end:?}");
    saw("command terminated with exit code 56");
    ingress::answers(site)?;
    saw("the gateway, which is named, gets the page");
    let denied = until("the reason in the log", || {
        let log = site.kubectl(&["logs", "-nistio-system", "-lapp=ztunnel", "--tail=-1"])?;
        let line = log
            .lines()
            .rev()
            .find(|line| line.contains("default/productpage-ztunnel"));
        line.map(str::to_owned)
            .ok_or_else(|| anyhow::anyhow!("no line names the policy"))
    })?;
    saw(denied.rsplit(" error=").next().unwrap_or(&denied));
    site.apply(CURL)?;
    until("the permission", || {
        let answer = ask(site, "default", PAGE, &[])?;
        ensure!(
            answer.status == "200" && answer.body.contains(TITLE),
            "{answer:?}"
        );
        Ok(())
    })?;
    let status = site.kubectl(&[
        "get",
        "authorizationpolicy",
        "productpage-ztunnel",
        "--output=jsonpath={.status.conditions[0].type}={.status.conditions[0].status}",
    ])?;
    ensure!(status == "ZtunnelAccepted=True", "{status}");
    saw(&format!("curl is let in once it is named; {status}"));
    Ok(())
}
