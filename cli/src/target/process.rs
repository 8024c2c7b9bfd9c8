//! One process of the mesh, and how it is asked.

use super::http;
use crate::cluster::Cluster;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// How long the API server may take to open a way to a pod.
const OPENING: Duration = Duration::from_secs(20);

/// One process.
#[derive(Clone)]
pub(crate) struct Process {
    /// Unique, for example `ztunnel-node-1`; of a waypoint the pod as `namespace/name`.
    pub(crate) name: String,
    /// `ztunnel`, `agent`, `controller`, `waypoint`.
    pub(crate) role: String,
    /// Node it runs on; the controller of a lab has none.
    pub(crate) node: Option<String>,
    /// Whether there is something to ask.
    pub(super) running: bool,
    /// The way to it.
    pub(super) door: Door,
}

/// The way to a process.
#[derive(Clone)]
pub(super) enum Door {
    /// Into its network namespace
    Lab {
        netns: PathBuf,
        admin: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
        token_file: Option<PathBuf>,
    },
    /// Through the API server to a pod
    Pod {
        cluster: Cluster,
        namespace: String,
        pod: String,
        admin: u16,
        metrics: u16,
    },
}

#[derive(Clone, Copy)]
enum Port {
    Admin,
    Metrics,
}

impl Process {
    /// Asks another admin port than it would have.
    pub(crate) fn set_admin_port(&mut self, port: u16) {
        if port == ambit_api::ports::ADMIN {
            return;
        }
        match &mut self.door {
            Door::Lab {
                admin: Some(address),
                ..
            } => address.set_port(port),
            Door::Lab { admin: None, .. } => {}
            Door::Pod { admin, .. } => *admin = port,
        }
    }

    /// `GET` on its admin port.
    pub(crate) async fn admin(&self, path: &str) -> Result<String> {
        self.ask("GET", Port::Admin, path).await
    }

    /// `POST` on its admin port.
    pub(crate) async fn admin_post(&self, path: &str) -> Result<String> {
        self.ask("POST", Port::Admin, path).await
    }

    /// `GET` on its metrics port.
    pub(crate) async fn metrics(&self) -> Result<String> {
        self.ask("GET", Port::Metrics, "/metrics").await
    }

    /// Copies both ways between a connection and its admin port, until both have ended.
    ///
    /// # Errors
    /// If it cannot be reached, or breaks off.
    pub(crate) async fn carry_admin(&self, client: &mut TcpStream) -> Result<()> {
        match &self.door {
            Door::Lab { netns, admin, .. } => {
                let address = admin.with_context(|| format!("{} has no admin port", self.name))?;
                let mut stream = http::dial(netns, address)?;
                copy_bidirectional(client, &mut stream).await?;
                Ok(())
            }
            Door::Pod {
                cluster,
                namespace,
                pod,
                admin,
                ..
            } => carry(cluster, (namespace, pod, *admin), client).await,
        }
    }

    async fn ask(&self, method: &str, port: Port, path: &str) -> Result<String> {
        if !self.running {
            bail!("{} is not running", self.name);
        }
        let ask = |token| http::Ask {
            method,
            path,
            token,
        };
        match &self.door {
            Door::Lab {
                netns,
                admin,
                metrics,
                token_file,
            } => {
                let address = match port {
                    Port::Admin => admin,
                    Port::Metrics => metrics,
                };
                let address = address.with_context(|| format!("{} has no such port", self.name))?;
                // It may have just been replaced; the process then answers what it may without it.
                let token = token_file
                    .as_ref()
                    .and_then(|path| std::fs::read_to_string(path).ok());
                let ask = ask(token.as_deref().map(str::trim));
                http::request(netns, address, &ask)
                    .await
                    .with_context(|| format!("{} at {address}{path}", self.name))
            }
            Door::Pod {
                cluster,
                namespace,
                pod,
                admin,
                metrics,
            } => {
                let number = match port {
                    Port::Admin => *admin,
                    Port::Metrics => *metrics,
                };
                http::request_pod(cluster, (namespace, pod, number), &ask(None))
                    .await
                    .with_context(|| format!("{} at port {number}{path}", self.name))
            }
        }
    }
}

/// Copies both ways between a connection and a port of a pod, until both have ended.
///
/// # Errors
/// If it cannot be reached, or breaks off.
pub(crate) async fn carry(
    cluster: &Cluster,
    (namespace, pod, port): (&str, &str, u16),
    client: &mut TcpStream,
) -> Result<()> {
    let way = cluster.forward(namespace, pod, port);
    let mut way = tokio::time::timeout(OPENING, way)
        .await
        .with_context(|| format!("no way to {namespace}/{pod} within {OPENING:?}"))??;
    copy_bidirectional(client, &mut way.stream).await?;
    Ok(())
}

#[cfg(test)]
impl Process {
    /// One that nobody can ask.
    pub(crate) fn for_test(name: &str, role: &str, node: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: role.to_owned(),
            node: Some(node.to_owned()),
            running: false,
            door: Door::Lab {
                netns: PathBuf::new(),
                admin: None,
                metrics: None,
                token_file: None,
            },
        }
    }
}
