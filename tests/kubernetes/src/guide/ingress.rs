//! A gateway in front of the application.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::TITLE;
use crate::command::output;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

/// Of the directory of samples.
const MANIFEST: &str = "bookinfo/gateway-api/bookinfo-gateway.yaml";
const GATEWAY: &str = "bookinfo-gateway";

pub(super) fn run(site: &Site) -> Result<()> {
    let path = manifest(site)?;
    site.kubectl(&["apply", "-f", &path])?;
    let ours = "networking.istio.io/service-type=ClusterIP";
    site.kubectl(&["annotate", "gateway", GATEWAY, ours])?;
    site.kubectl(&[
        "wait",
        "--for=condition=Programmed",
        "gateway",
        GATEWAY,
        "--timeout=60s",
    ])?;
    saw("the gateway is programmed");
    answers(site)?;
    saw("the page comes by the gateway, another path is 404");
    Ok(())
}

/// The page by the gateway, and nothing that no route leads to.
pub(super) fn answers(site: &Site) -> Result<()> {
    let door = Door::open(site)?;
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
    site.kubectl(&["delete", "-f", &manifest(site)?]).map(drop)
}

fn manifest(site: &Site) -> Result<String> {
    let path = site.samples()?.join(MANIFEST);
    Ok(path.to_str().context("a path in UTF-8")?.to_owned())
}

/// A forwarded port of the gateway's Service.
struct Door<'a> {
    site: &'a Site,
    child: Child,
}

impl<'a> Door<'a> {
    fn open(site: &'a Site) -> Result<Self> {
        let service = format!("service/{GATEWAY}-istio");
        let child = site
            .kubectl_command(&["port-forward", &service, "8080:80"])?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("kubectl port-forward")?;
        Ok(Self { site, child })
    }

    /// Body and status.
    fn get(&self, path: &str) -> Result<String> {
        let mut command: Command = self.site.beside_kubectl("curl");
        let url = format!("http://127.0.0.1:8080{path}");
        output(command.args(["-sS", "--max-time", "10", "-w", "\n%{http_code}", &url]))
    }
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
