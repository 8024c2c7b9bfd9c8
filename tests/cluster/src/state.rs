//! The directory of one cluster: what it is made of, what runs, what it says.
//! In: the build directory, a name. Out: paths below `<build>/cluster/<name>`; records of what runs.
//! Owns: nothing but these files. A record is believed only if the process with its start time is there.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, NodeNumber, Role};
use crate::process;

/// Directories that every node covers with its own: a state directory below them would vanish there.
const COVERED: [&str; 4] = ["/etc", "/var", "/opt", "/run"];

/// The state directory of a cluster.
#[derive(Clone, Debug)]
pub struct Directory {
    name: ClusterName,
    path: PathBuf,
}

/// What a cluster is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Its nodes
    pub nodes: Vec<NodeNumber>,
    /// Nodes and pods have IPv6 addresses too, services may
    #[serde(default)]
    pub dual_stack: bool,
    /// What its API server does beyond what it does by itself
    #[serde(default)]
    pub api: ApiOptions,
}

/// Options of the API server, as `kube-apiserver` takes them; empty says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiOptions {
    /// `--feature-gates`: `Name=true`, separated by commas
    pub feature_gates: String,
    /// `--runtime-config`: `group/version=true`, separated by commas
    pub runtime_config: String,
}

/// What a cluster is made of, written once by `up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Composition {
    pub(crate) name: ClusterName,
    #[serde(flatten)]
    pub(crate) shape: Shape,
    /// Directory of `kubebox`, `coredns` and `pause`
    pub(crate) binaries: PathBuf,
}

/// The first process of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    /// Clock ticks after boot, `/proc/<pid>/stat` field 22: tells it from a later process with its number
    pub(crate) started: u64,
}

fn is_covered(path: &Path) -> bool {
    COVERED.iter().any(|covered| path.starts_with(covered))
}

impl Directory {
    /// The directory of a cluster below cargo's build directory; where nodes cover that with directories
    /// of their own, below the home directory. It need not exist.
    ///
    /// # Errors
    /// Nodes cover the home directory as well, or there is none.
    pub fn new(build: &Path, name: ClusterName) -> Result<Self> {
        let mut path = build.join("cluster");
        if is_covered(&path) {
            let home = std::env::var_os("HOME").context("HOME is not set")?;
            path = Path::new(&home).join(".cache/ambit/state");
        }
        path.push(name.to_string());
        if is_covered(&path) {
            bail!(
                "{} is below a directory that nodes replace; build elsewhere",
                path.display()
            );
        }
        Ok(Self { name, path })
    }

    /// The directory at a path that `new` gave earlier.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let composition: Composition =
            serde_json::from_str(&process::read(&path.join("cluster.json"))?)
                .with_context(|| path.display().to_string())?;
        Ok(Self {
            name: composition.name,
            path: path.to_owned(),
        })
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.path.join("admin.conf")
    }

    /// Certificates and keys.
    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// What belongs to one part.
    pub(crate) fn role(&self, role: Role) -> PathBuf {
        self.path.join(role.to_string())
    }

    /// Number of the first process of a part, if it is alive.
    #[must_use]
    pub fn process(&self, role: Role) -> Option<i32> {
        self.running(role).map(|running| running.pid)
    }

    /// Logs by name, `n1/kubelet`, with their files.
    ///
    /// # Errors
    /// State that cannot be read.
    pub fn log_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for role in self.roles()? {
            let Ok(entries) = std::fs::read_dir(self.logs(role)) else {
                continue;
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                if let Some(name) = path.file_stem() {
                    found.push((format!("{role}/{}", name.to_string_lossy()), path.clone()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Logs of one part.
    pub(crate) fn logs(&self, role: Role) -> PathBuf {
        self.role(role).join("log")
    }

    /// Keeps others from changing the cluster at the same time.
    pub(crate) fn lock(&self) -> Result<Flock<File>> {
        let file = File::create(self.path.with_extension("lock")).context("make a lock")?;
        let held = Flock::lock(file, FlockArg::LockExclusive);
        held.map_err(|(_, error)| error)
            .context("wait for another command")
    }

    /// What the cluster is made of; none if it was never up.
    pub(crate) fn composition(&self) -> Result<Option<Composition>> {
        let file = self.path.join("cluster.json");
        if !file.exists() {
            return Ok(None);
        }
        let composition = serde_json::from_str(&process::read(&file)?);
        composition
            .with_context(|| file.display().to_string())
            .map(Some)
    }

    /// Writes what it is made of.
    pub(crate) fn compose(&self, composition: &Composition) -> Result<()> {
        process::write(
            &self.path.join("cluster.json"),
            serde_json::to_vec_pretty(composition)?,
        )
    }

    /// The parts of a cluster that is up.
    pub(crate) fn roles(&self) -> Result<Vec<Role>> {
        let nodes = self
            .composition()?
            .map(|c| c.shape.nodes)
            .unwrap_or_default();
        Ok(std::iter::once(Role::ControlPlane)
            .chain(nodes.into_iter().map(Role::Node))
            .collect())
    }

    /// The first process of a part, if it is alive.
    pub(crate) fn running(&self, role: Role) -> Option<Running> {
        let text = std::fs::read_to_string(self.role(role).join("init.json")).ok()?;
        let running: Running = serde_json::from_str(&text).ok()?;
        (started(running.pid) == Some(running.started)).then_some(running)
    }

    /// Records the first process of a part.
    pub(crate) fn record(&self, role: Role, pid: i32) -> Result<()> {
        let started = started(pid).context("the first process of a part ended at once")?;
        let running = Running { pid, started };
        process::write(
            &self.role(role).join("init.json"),
            serde_json::to_vec(&running)?,
        )
    }
}

/// When a process started; none if there is none, or only its remains.
fn started(pid: i32) -> Option<u64> {
    parse_started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields are counted behind the name in parentheses, which may hold anything.
fn parse_started(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Directory, is_covered, parse_started};
    use std::path::Path;

    #[test]
    fn a_start_time_is_read_behind_any_name() {
        let rest = "1 1 0 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1000 1";
        assert_eq!(parse_started(&format!("1 (a b) c) S {rest}")), Some(777));
        assert_eq!(parse_started(&format!("1 (gone) Z {rest}")), None);
        assert_eq!(parse_started("1 (short) S 1"), None);
    }

    #[test]
    fn a_place_that_nodes_cover_is_not_used() {
        let name = || "ambit".parse().unwrap();
        let covered = Directory::new(Path::new("/var/tmp/target"), name()).unwrap();
        assert!(!is_covered(&covered.path), "{}", covered.path.display());
        let good = Directory::new(Path::new("/src/target"), name()).unwrap();
        assert_eq!(
            good.admin(),
            Path::new("/src/target/cluster/ambit/admin.conf")
        );
    }
}
