//! The annotation `ambient.istio.io/redirection` on pods: the controller reads it as "speaks HBONE".
//! In: what to say of a pod. Out: a status document of the writer `agent-<node>`, or a patch of `pods/status`.
//! Owns nothing but the words that wait. Must not happen here: a word about a pod that is not the agent's.

mod board;
mod cluster;

pub use cluster::Cluster;

use std::path::Path;

use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use ambit_source::status::{WriteError, Writer};
use serde_json::json;

/// The redirection annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Not known what it says: after a start of the agent.
    Unknown,
    /// Absent.
    Nothing,
    /// `pending`.
    Pending,
    /// `enabled`.
    Enabled,
}

/// The pod that something is said of.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The uid the node knows it by.
    pub uid: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

/// Where annotations go.
#[derive(Debug)]
pub struct Announcer(To);

#[derive(Debug)]
enum To {
    Directory(Writer),
    Cluster(Cluster),
}

/// The annotation cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the redirection annotation")]
pub struct AnnounceError(#[from] WriteError);

impl Announcer {
    /// Writes beside the directory source.
    ///
    /// # Errors
    /// The node's name cannot be part of a path.
    pub fn directory(dir: &Path, node: &str) -> Result<Self, AnnounceError> {
        let writer = Writer::new(dir, &format!("agent-{node}"))?;
        Ok(Self(To::Directory(writer)))
    }

    /// Leaves it to the task that writes to an API server, which tries until it stands.
    pub fn cluster(cluster: Cluster) -> Self {
        Self(To::Cluster(cluster))
    }

    /// Says it, or takes it back. Nothing is written if it is said already.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn announce(&self, pod: Named<'_>, what: Announced) -> Result<(), AnnounceError> {
        let writer = match &self.0 {
            To::Directory(writer) => writer,
            To::Cluster(cluster) => {
                cluster.say(pod.uid, what);
                return Ok(());
            }
        };
        let key = ObjectKey::new(Kind::Pod, pod.namespace, pod.name);
        match board::value(what) {
            Some(value) => {
                let patch = json!({"metadata": {"annotations": {labels::REDIRECTION: value}}});
                writer.patch(&key, &patch)?;
            }
            None => {
                writer.remove(&key)?;
            }
        }
        Ok(())
    }

    /// Takes back what was said of pods that are not among `mine` any more.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn forget_others(&self, mine: impl Fn(&str, &str) -> bool) -> Result<(), AnnounceError> {
        let writer = match &self.0 {
            To::Directory(writer) => writer,
            To::Cluster(cluster) => {
                cluster.forget_others(mine);
                return Ok(());
            }
        };
        for key in writer.list()? {
            if key.kind == Kind::Pod && !mine(&key.namespace, &key.name) {
                writer.remove(&key)?;
            }
        }
        Ok(())
    }
}
