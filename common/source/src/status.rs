//! Writes what one writer has to say of objects: a patch, or a whole generated object.
//! Files are written beside and renamed, and only when their content differs, so that a reader
//! never sees half of one and a writer that watches its own directory comes to rest.

use crate::catalog::GENERATED_BY;
use crate::directory::{status_path, status_place};
use ambit_crds::{Object, ObjectKey};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Why a status could not be written.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The file system refused.
    #[error("write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The value cannot be written as YAML.
    #[error("encode the status of {key}: {reason}")]
    Encode {
        /// Of which object.
        key: String,
        /// Why.
        reason: String,
    },
    /// A generated object is not one.
    #[error("generated object: {reason}")]
    NotAnObject {
        /// Why.
        reason: String,
    },
}

/// One writer's place in a directory.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    name: String,
    temporary: AtomicU64,
}

impl Writer {
    /// A writer called `name` (`node-1`, `agent-1`, `controller`).
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new(dir: &Path, name: &str) -> Result<Self, StatusError> {
        let writer = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            temporary: AtomicU64::new(0),
        };
        create(&writer.home())?;
        Ok(writer)
    }

    /// Replaces what this writer says of an object. Of `patch`, `status` and
    /// `metadata.annotations` are read.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub fn patch(&self, key: &ObjectKey, patch: &Value) -> Result<(), StatusError> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), json!(key.name));
        if !key.namespace.is_empty() {
            metadata.insert("namespace".into(), json!(key.namespace));
        }
        if let Some(annotations) = patch.pointer("/metadata/annotations") {
            metadata.insert("annotations".into(), annotations.clone());
        }
        let mut document = json!({"kind": key.kind.as_str(), "metadata": metadata});
        if let Some(status) = patch.get("status") {
            document["status"] = status.clone();
        }
        self.write(key, &document)
    }

    /// Writes a whole object, which stands where the user has none. Returns its key.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub fn apply_object(&self, object: &Value) -> Result<ObjectKey, StatusError> {
        let parsed = Object::parse(object.clone()).map_err(|errors| StatusError::NotAnObject {
            reason: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })?;
        let mut document = object.clone();
        document["metadata"]["annotations"][GENERATED_BY] = json!(self.name);
        let key = parsed.key();
        self.write(&key, &document)?;
        Ok(key)
    }

    /// Takes back what was said of an object. Nothing said is fine.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub fn remove(&self, key: &ObjectKey) -> Result<(), StatusError> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StatusError::Io { path, source: e })
            }
            _ => Ok(()),
        }
    }

    /// Objects this writer has said something of, for cleaning up after a restart.
    ///
    /// # Errors
    /// See [`StatusError`].
    pub fn list(&self) -> Result<Vec<ObjectKey>, StatusError> {
        let mut keys = Vec::new();
        let mut todo = vec![self.home()];
        while let Some(path) = todo.pop() {
            let io = |source| StatusError::Io { path: path.clone(), source };
            for entry in std::fs::read_dir(&path).map_err(io)? {
                let entry = entry.map_err(io)?.path();
                if entry.is_dir() {
                    todo.push(entry);
                } else {
                    keys.extend(status_place(&self.dir, &entry));
                }
            }
        }
        keys.sort();
        Ok(keys)
    }

    fn home(&self) -> PathBuf {
        self.dir.join(".status").join(&self.name)
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.dir.join(status_path(&self.name, key))
    }

    fn write(&self, key: &ObjectKey, document: &Value) -> Result<(), StatusError> {
        let text = serde_saphyr::to_string(document).map_err(|e| StatusError::Encode {
            key: key.to_string(),
            reason: e.to_string(),
        })?;
        let path = self.path(key);
        if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            create(parent)?;
        }
        let serial = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.home().join(format!(".{}-{serial}.tmp", std::process::id()));
        let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|source| StatusError::Io { path, source })
    }
}

fn create(dir: &Path) -> Result<(), StatusError> {
    std::fs::create_dir_all(dir).map_err(|source| StatusError::Io {
        path: dir.to_owned(),
        source,
    })
}
