//! Writing statuses: one document per object and writer, put in place by rename.
//! In: patches or whole generated objects. Out: files under `DIR/.status/<writer>/`.
//! Writes only what differs, so a writer that also watches never wakes itself twice. Blocking, but
//! small: one read and at most one write and rename per call.

use crate::directory::{STATUS_DIR, StatusPath, identify, parse_yaml};
use ambit_crds::{Kind, ObjectKey};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Why a status cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A writer, namespace or object name that is not safe as a path component.
    #[error("`{0}` cannot be part of a path")]
    UnsafeName(String),
    /// A kind without a place in the tree.
    #[error("objects of kind {0} have no status")]
    Kind(Kind),
    /// A generated object without apiVersion, kind or name.
    #[error("a generated object needs apiVersion, kind and metadata.name")]
    Nameless,
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Whether a call changed a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It did.
    Changed,
    /// The content was there already.
    Unchanged,
}

/// Writes the statuses of one writer, such as `controller`, `node-1` or `agent-1`. Two processes must
/// not share a name.
#[derive(Debug, Clone)]
pub struct Writer {
    dir: PathBuf,
    name: String,
}

impl Writer {
    /// A writer for a directory. Nothing is created before the first write.
    ///
    /// # Errors
    /// [`WriteError::UnsafeName`].
    pub fn new(dir: &Path, name: &str) -> Result<Self, WriteError> {
        safe(name)?;
        Ok(Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Replaces this writer's patch of an object: `{"status": …, "metadata": {"annotations": …}}`.
    /// Readers merge it; null removes what another document set; anything else in it is ignored.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn patch(&self, key: &ObjectKey, patch: &Value) -> Result<Written, WriteError> {
        self.put(&self.path(key)?, patch)
    }

    /// Writes a whole generated object, which exists unless the user has one of the same name.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn apply_object(&self, object: &Value) -> Result<Written, WriteError> {
        let key = identify(object).ok_or(WriteError::Nameless)?;
        self.put(&self.path(&key)?, object)
    }

    /// Takes this writer's document of an object away, patch or generated.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn remove(&self, key: &ObjectKey) -> Result<Written, WriteError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(Written::Changed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Written::Unchanged),
            Err(source) => Err(failed("remove", &path, source)),
        }
    }

    /// Objects this writer has a document of, sorted: what to take away after a restart.
    ///
    /// # Errors
    /// See [`WriteError`]. A tree that does not exist is empty.
    pub fn list(&self) -> Result<Vec<ObjectKey>, WriteError> {
        let root = self.dir.join(STATUS_DIR).join(&self.name);
        let mut out = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(dir) = open.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(failed("list", &dir, source)),
            };
            for entry in entries {
                let entry = entry.map_err(|source| failed("list", &dir, source))?;
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if let Ok(relative) = path.strip_prefix(&self.dir) {
                    out.extend(StatusPath::parse(relative).map(|s| s.key));
                }
            }
        }
        out.sort();
        Ok(out)
    }

    fn path(&self, key: &ObjectKey) -> Result<PathBuf, WriteError> {
        if matches!(key.kind, Kind::Other(_)) {
            return Err(WriteError::Kind(key.kind.clone()));
        }
        safe(&key.name)?;
        if key.kind.is_namespaced() {
            safe(&key.namespace)?;
        }
        let path = StatusPath {
            writer: self.name.clone(),
            key: key.clone(),
        };
        Ok(self.dir.join(path.relative()))
    }

    fn put(&self, path: &Path, value: &Value) -> Result<Written, WriteError> {
        let text = render(value);
        if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(Written::Unchanged);
        }
        let dir = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(dir).map_err(|source| failed("create", dir, source))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = dir.join(format!(".{}.{number}.tmp", std::process::id()));
        fs::write(&temporary, text).map_err(|source| failed("write", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| {
            // Leaves no litter; the error that matters is the rename's.
            let _ = fs::remove_file(&temporary);
            failed("write", path, source)
        })?;
        Ok(Written::Changed)
    }
}

/// YAML for people, JSON (which is YAML too) where it would not read back the same.
fn render(value: &Value) -> String {
    let json = || format!("{value:#}\n");
    match serde_saphyr::to_string(value) {
        Ok(text) if parse_yaml(&text).as_ref() == Ok(value) => text,
        _ => json(),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> WriteError {
    WriteError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn safe(name: &str) -> Result<(), WriteError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    let ok = (1..=253).contains(&name.len())
        && name.bytes().all(fine)
        && !name.starts_with('.')
        && name != "_";
    if ok {
        Ok(())
    } else {
        Err(WriteError::UnsafeName(name.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_that_leave_the_tree_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Writer::new(dir.path(), "../x").is_err());
        let writer = Writer::new(dir.path(), "controller").unwrap();
        for (ns, name) in [
            ("..", "a"),
            ("n", "../a"),
            ("n", ""),
            ("", "a"),
            ("n/m", "a"),
        ] {
            let key = ObjectKey::new(Kind::Pod, ns, name);
            assert!(matches!(
                writer.patch(&key, &json!({})),
                Err(WriteError::UnsafeName(_))
            ));
        }
        let other = ObjectKey::new(Kind::Other("/Secret".into()), "n", "a");
        assert!(matches!(
            writer.patch(&other, &json!({})),
            Err(WriteError::Kind(_))
        ));
        assert!(matches!(
            writer.apply_object(&json!({"kind": "Pod"})),
            Err(WriteError::Nameless)
        ));
        assert_eq!(writer.list().unwrap(), []);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let odd = json!({"status": {"a": "yes", "b": "1", "c": "0x1", "d": " x ", "e": "a: b\n- c\n", "f": "~", "g": [1, 1.5, true, null, {}, []], "y": "2026-01-01", "": "#"}});
        assert_eq!(parse_yaml(&render(&odd)).unwrap(), odd);
    }
}
