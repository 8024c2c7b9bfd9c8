//! Where the mesh is. In: `--lab`. Out: processes and a way to ask them.
//! A lab's file in `/run/ambit/labs` names every process with its network namespace and ports.

mod http;
mod lab;

use anyhow::{Context, Result, bail};
use lab::Lab;
pub(crate) use lab::Process;
use std::net::SocketAddr;
use std::path::Path;

const LABS: &str = "/run/ambit/labs";

/// A running mesh.
pub(crate) struct Target {
    lab: Lab,
}

/// Opens the lab called `name`, or the only one there is.
pub(crate) fn open(name: Option<&str>) -> Result<Target> {
    let lab = match name {
        Some(name) => lab::read(&Path::new(LABS).join(format!("{name}.json")))
            .with_context(|| format!("no lab called `{name}` is running"))?,
        None => only_lab()?,
    };
    Ok(Target { lab })
}

fn only_lab() -> Result<Lab> {
    let mut found = lab::list(Path::new(LABS))?;
    match found.len() {
        1 => {
            let lab = found.remove(0);
            crate::output::note(format_args!("lab: {}", lab.name));
            Ok(lab)
        }
        0 => bail!(
            "no mesh found: start a lab with `cargo xtask demo --keep`, or name one with --lab"
        ),
        _ => {
            let names: Vec<_> = found.iter().map(|l| l.name.as_str()).collect();
            bail!(
                "several labs are running ({}); choose one with --lab",
                names.join(", ")
            )
        }
    }
}

impl Target {
    /// Processes of a role: `ztunnel`, `agent`, `controller`, `waypoint`.
    pub(crate) fn processes<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Process> {
        self.lab.processes.iter().filter(move |p| p.role == role)
    }

    /// The node proxy of `node`, or the only one.
    pub(crate) fn ztunnel(&self, node: Option<&str>) -> Result<&Process> {
        let mut candidates = self
            .processes("ztunnel")
            .filter(|p| node.is_none_or(|n| p.node.as_deref() == Some(n) || p.name == n));
        let first = candidates.next().with_context(|| match node {
            Some(n) => format!("no ztunnel on `{n}`; nodes: {}", self.nodes().join(", ")),
            None => "this mesh has no ztunnel".to_owned(),
        })?;
        if node.is_none() && candidates.next().is_some() {
            bail!(
                "several nodes ({}); choose one with --node",
                self.nodes().join(", ")
            );
        }
        Ok(first)
    }

    /// Nodes with a ztunnel.
    pub(crate) fn nodes(&self) -> Vec<&str> {
        self.processes("ztunnel")
            .filter_map(|p| p.node.as_deref())
            .collect()
    }
}

impl Process {
    /// `GET` on its admin port.
    pub(crate) async fn admin(&self, path: &str) -> Result<String> {
        self.ask("GET", self.admin, path).await
    }

    /// `POST` on its admin port.
    pub(crate) async fn admin_post(&self, path: &str) -> Result<String> {
        self.ask("POST", self.admin, path).await
    }

    /// `GET` on its metrics port.
    pub(crate) async fn metrics(&self) -> Result<String> {
        self.ask("GET", self.metrics, "/metrics").await
    }

    async fn ask(&self, method: &str, address: Option<SocketAddr>, path: &str) -> Result<String> {
        let address = address.with_context(|| format!("{} has no such port", self.name))?;
        if self.pid.is_none() {
            bail!("{} is not running", self.name);
        }
        let token = match &self.token_file {
            // It may have just been replaced; the process then answers what it may without it.
            Some(path) => std::fs::read_to_string(path).ok(),
            None => None,
        };
        let request = http::Ask {
            method,
            path,
            token: token.as_deref().map(str::trim),
        };
        http::request(&self.netns, address, &request)
            .await
            .with_context(|| format!("{} at {address}{path}", self.name))
    }
}
