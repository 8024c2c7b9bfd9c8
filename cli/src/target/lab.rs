//! The file a lab leaves behind: every process with role, node, namespace, ports and token.

use super::process::{Door, Process};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A running lab.
#[derive(Debug, Deserialize)]
pub(super) struct Lab {
    pub(super) name: String,
    pub(super) processes: Vec<Entry>,
}

/// One process of the mesh, as the lab's file has it.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    name: String,
    role: String,
    node: Option<String>,
    pid: Option<i32>,
    netns: PathBuf,
    /// Admin address (debug address of the controller)
    admin: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    /// Token it presents; for the controller, one its debug pages accept
    token_file: Option<PathBuf>,
}

impl From<Entry> for Process {
    fn from(entry: Entry) -> Self {
        Self {
            name: entry.name,
            role: entry.role,
            node: entry.node,
            running: entry.pid.is_some(),
            door: Door::Lab {
                netns: entry.netns,
                admin: entry.admin,
                metrics: entry.metrics,
                token_file: entry.token_file,
            },
        }
    }
}

/// Reads one lab file.
pub(super) fn read(path: &Path) -> Result<Lab> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut lab: Lab =
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    lend_token(&mut lab.processes);
    Ok(lab)
}

/// The controller's debug pages answer node proxies; who may read this file may be one.
fn lend_token(processes: &mut [Entry]) {
    let token = processes
        .iter()
        .find(|p| p.role == "ztunnel")
        .and_then(|p| p.token_file.clone());
    for p in processes.iter_mut().filter(|p| p.role == "controller") {
        p.token_file.clone_from(&token);
    }
}

/// All running labs, by name.
pub(super) fn list(dir: &Path) -> Result<Vec<Lab>> {
    let mut paths: Vec<_> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(Result::ok).map(|e| e.path()).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("list {}", dir.display())),
    };
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths.iter().map(|p| read(p)).collect()
}
