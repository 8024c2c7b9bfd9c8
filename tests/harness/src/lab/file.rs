//! The description of a running lab: `/run/ambit/labs/<name>.json`.
//! In: the lab. Out: a file, replaced by rename whenever something starts or ends, that tells the `ambit`
//! command where every process is.
//! Owns: the file; it goes with the lab.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::LabName;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabFile {
    /// The lab's name
    pub name: String,
    /// The process that holds the lab; the lab ends with it
    pub pid: i32,
    /// The directory of YAML
    pub source_dir: PathBuf,
    /// Sockets, tokens, logs
    pub run_dir: PathBuf,
    /// The mesh's root certificate
    pub root_cert: PathBuf,
    /// DNS suffix
    pub cluster_domain: String,
    /// Programs of the mesh, waypoints included
    pub processes: Vec<ProcessLine>,
    /// Every pod
    pub pods: Vec<PodLine>,
}

/// One program of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLine {
    /// `controller`, `agent`, `ztunnel` or `waypoint`
    pub role: String,
    /// Unique in the lab: `ztunnel-n1`; of a waypoint the pod as `namespace/name`
    pub name: String,
    /// `node-1`; the controller has none
    pub node: Option<String>,
    /// Process id; none while it is away
    pub pid: Option<i32>,
    /// Namespace file to enter before connecting to the addresses below
    pub netns: PathBuf,
    /// Admin and debug pages
    pub admin: Option<SocketAddr>,
    /// Prometheus metrics
    pub metrics: Option<SocketAddr>,
    /// Readiness
    pub ready: Option<SocketAddr>,
    /// Its service account token
    pub token_file: Option<PathBuf>,
    /// Its output
    pub log: PathBuf,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLine {
    /// Namespace
    pub namespace: String,
    /// Name
    pub name: String,
    /// Node
    pub node: String,
    /// Primary address
    pub address: Option<IpAddr>,
    /// All its addresses, the primary one first
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Whether it is ready
    pub ready: bool,
    /// Why not
    pub message: String,
    /// Namespace file
    pub netns: Option<PathBuf>,
    /// cgroup2 directory
    pub cgroup: Option<PathBuf>,
    /// Resolver file its processes see
    pub resolv: Option<PathBuf>,
    /// Its service account token
    pub token_file: PathBuf,
}

impl LabFile {
    /// Reads the file of a lab.
    ///
    /// # Errors
    /// No such lab, or the file is not ours.
    pub fn read(lab: &LabName) -> io::Result<Self> {
        Self::read_path(&lab.lab_file())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_path(path: &Path) -> io::Result<Self> {
        let text = std::fs::read(path)?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, lab: &LabName) -> io::Result<()> {
        let path = lab.lab_file();
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &path)
    }
}
