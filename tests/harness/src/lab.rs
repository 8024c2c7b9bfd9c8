//! A running lab and what can be done with it.
//! In: [`LabBuilder`]'s choices. Out: nodes, daemons, pods; methods to use, watch and break them.
//! Owns: all of it; dropping the lab removes all of it.
//! Split by what a caller wants: `exec` (run something in a pod), `daemon` (kill, restart), `directory`
//! (apply, remove YAML), `observe` (metrics, logs, capture, waiting).

mod builder;
mod daemon;
mod describe;
mod directory;
mod exec;
mod file;
mod mesh;
mod observe;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cgroup::CgroupError;
use crate::cluster::Cluster;
use crate::families::Families;
use crate::kubelet::node::Node;
use crate::kubelet::status::Pods;
use crate::names::{LabName, LabNameError};
use crate::network::NetworkError;
use crate::process::{SpawnError, Spawner};
use crate::tokens::{Issuer, TokenError};
use crate::tool::ToolError;
use crate::wait::NotYet;

pub use builder::LabBuilder;
pub use daemon::{Daemon, DaemonKind};
pub use exec::{ExecError, Output, finish};
pub use file::{LabFile, PodLine, ProcessLine};
pub use sweep::sweep;

/// Why a lab is not up.
#[derive(Debug, Error)]
pub enum LabError {
    /// Bad name.
    #[error(transparent)]
    Name(#[from] LabNameError),
    /// Not root.
    #[error("a lab needs root: it makes network namespaces, cgroups and mounts")]
    NotRoot,
    /// Somebody else's.
    #[error(
        "lab {name} is running already (process {pid}); take it down with `ambit-lab down {name}`"
    )]
    Running {
        /// Its name
        name: String,
        /// Who holds it
        pid: i32,
    },
    /// A file of the lab.
    #[error("{path}")]
    Io {
        /// The file
        path: PathBuf,
        /// Why
        #[source]
        source: std::io::Error,
    },
    /// The network.
    #[error("network of the lab")]
    Network(#[from] NetworkError),
    /// A command.
    #[error("command of the lab")]
    Tool(#[from] ToolError),
    /// A cgroup.
    #[error("cgroup of the lab")]
    Cgroup(#[from] CgroupError),
    /// The signing key.
    #[error("tokens of the lab")]
    Token(#[from] TokenError),
    /// The directory.
    #[error("directory of the lab")]
    Watch(#[from] ambit_source::WatchError),
    /// Statuses.
    #[error("statuses of the lab")]
    Status(#[from] ambit_source::WriteError),
    /// A token file.
    #[error("token file of the lab")]
    TokenFile(#[from] crate::kubelet::token_file::TokenFileError),
    /// A program.
    #[error("{what} did not start")]
    Spawn {
        /// Which
        what: String,
        /// Why
        #[source]
        source: SpawnError,
    },
    /// A program that started and never became ready.
    #[error("{what} did not become ready; the end of its log {log}:\n{tail}")]
    NotReady {
        /// Which
        what: String,
        /// Its log
        log: PathBuf,
        /// The end of the log
        tail: String,
        /// What was waited for
        #[source]
        source: Box<NotYet>,
    },
    /// A mount.
    #[error("cannot mount bpffs on {path}")]
    Mount {
        /// Where
        path: PathBuf,
        /// Why
        #[source]
        source: nix::Error,
    },
}

/// A running lab.
pub struct Lab {
    name: LabName,
    families: Families,
    directory: PathBuf,
    programs: PathBuf,
    spawner: Spawner,
    issuer: Arc<Issuer>,
    nodes: Vec<Arc<Node>>,
    daemons: Vec<Arc<Daemon>>,
    cluster: watch::Receiver<Arc<Cluster>>,
    pods: Arc<Pods>,
    /// Per node, the cluster its Service rules were made from.
    services: Vec<watch::Receiver<Arc<Cluster>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Lab {
    /// Choices for a lab called `name`.
    pub fn builder(name: &str) -> LabBuilder {
        LabBuilder::new(name)
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// Its address families.
    pub fn families(&self) -> Families {
        self.families
    }

    /// The directory of YAML that this lab runs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its nodes, the first is number 1.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Where built programs are.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The signing key of service account tokens.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Its files.
    pub fn run_dir(&self) -> PathBuf {
        self.name.run_dir()
    }

    /// The objects as nodes see them.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.borrow().clone()
    }

    /// Stops pods as a node shutdown does (SIGTERM, CNI DEL), then removes the lab.
    pub async fn down(mut self) {
        self.stop.cancel();
        let pods = self.pods.subscribe();
        let gone = async {
            let mut pods = pods;
            let _ = pods.wait_for(std::collections::BTreeMap::is_empty).await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(15), gone).await;
        self.tasks.shutdown().await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
        for problem in sweep(&self.name) {
            tracing::warn!(lab = %self.name, %problem, "left behind");
        }
    }
}

/// Whether this process may make labs.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
