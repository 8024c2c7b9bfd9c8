//! What a node gives to its pods.
//! In: the lab's choices. Out: one shared, read-only description with the few things pods take from.
//! Owns: the free pod addresses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::families::Families;
use crate::names::{LabName, NetnsName, NodeNumber};
use crate::network::Addresses;
use crate::prober::Prober;
use crate::process::Spawner;
use crate::tokens::Issuer;

use super::cni::Chain;
use super::image::Images;
use super::status::Statuses;

/// One node.
pub struct Node {
    /// The lab it is in
    pub lab: LabName,
    /// Its number
    pub number: NodeNumber,
    /// `node-1`
    pub name: String,
    /// Which families it has addresses of
    pub families: Families,
    /// Its namespace
    pub netns: NetnsName,
    /// Its cgroup2 directory
    pub cgroup: PathBuf,
    /// Its files: sockets, tokens, resolver files
    pub dir: PathBuf,
    /// Logs of everything on it
    pub logs: PathBuf,
    /// Starts processes
    pub spawner: Spawner,
    /// Makes readiness probes
    pub prober: Prober,
    /// Writes pod statuses
    pub statuses: Statuses,
    /// Signs pod tokens
    pub issuer: Arc<Issuer>,
    /// How long a token is good for; it is renewed at half of that
    pub token_lifetime: Duration,
    /// Plugins after the built-in one; none in a lab without a mesh
    pub chain: Option<Chain>,
    /// Image names and what they run
    pub images: Images,
    /// Environment of containers that are part of the mesh
    pub mesh_env: Vec<(String, String)>,
    /// Free host numbers of its pod ranges
    pub addresses: Mutex<Addresses>,
}

impl Node {
    /// The parent of all pods' cgroups.
    pub fn kubepods(&self) -> PathBuf {
        self.cgroup.join("kubepods")
    }

    /// The cgroup of the node's own program `name`.
    pub fn system(&self, name: &str) -> PathBuf {
        self.cgroup.join("system").join(name)
    }
}
