//! The annotation `ambient.istio.io/redirection` on pods: the controller reads it as "speaks HBONE".
//! In: what to say of a pod. Out: a status document of the writer `agent-<node>`.
//! Owns nothing. Must not happen here: a word about a pod that is not the agent's.

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

/// Where annotations go.
#[derive(Debug)]
pub struct Announcer {
    writer: Writer,
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
        Ok(Self {
            writer: Writer::new(dir, &format!("agent-{node}"))?,
        })
    }

    /// Says it, or takes it back. Nothing is written if it is said already.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn announce(
        &self,
        namespace: &str,
        name: &str,
        what: Announced,
    ) -> Result<(), AnnounceError> {
        let key = ObjectKey::new(Kind::Pod, namespace, name);
        let value = match what {
            Announced::Enabled => "enabled",
            Announced::Pending => "pending",
            Announced::Nothing | Announced::Unknown => {
                self.writer.remove(&key)?;
                return Ok(());
            }
        };
        let patch = json!({"metadata": {"annotations": {labels::REDIRECTION: value}}});
        self.writer.patch(&key, &patch)?;
        Ok(())
    }

    /// Takes back what was said of pods that are not among `mine` any more.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn forget_others(&self, mine: impl Fn(&str, &str) -> bool) -> Result<(), AnnounceError> {
        for key in self.writer.list()? {
            if key.kind == Kind::Pod && !mine(&key.namespace, &key.name) {
                self.writer.remove(&key)?;
            }
        }
        Ok(())
    }
}
