//! The user's side of the directory: applying and removing YAML.
//! In: files or text. Out: files in the lab's directory, replaced by rename.
//! Never here: reading them.

use std::io;
use std::path::{Path, PathBuf};

use super::{Lab, LabError};
use crate::names::NodeNumber;

impl Lab {
    /// Copies a file, or every `*.yaml` of a directory, into the lab's directory.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn apply_file(&self, path: &Path) -> Result<(), LabError> {
        let io = |source| LabError::Io {
            path: path.to_owned(),
            source,
        };
        if !path.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| io(io::Error::from(io::ErrorKind::InvalidInput)))?;
            return self.put(name, &std::fs::read(path).map_err(io)?);
        }
        for entry in std::fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            if file
                .extension()
                .is_some_and(|ext| ext == "yaml" || ext == "yml")
            {
                self.apply_file(&file)?;
            }
        }
        Ok(())
    }

    /// Writes `yaml` as `<name>.yaml`.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn apply(&self, name: &str, yaml: &str) -> Result<(), LabError> {
        self.put(&format!("{name}.yaml"), yaml.as_bytes())
    }

    /// Removes `<name>.yaml`; no error if it is not there.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), LabError> {
        let path = self.directory.join(format!("{name}.yaml"));
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LabError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Replaces `from` by `to` in `<name>.yaml`, as an editor would.
    ///
    /// # Errors
    /// [`LabError::Io`]; not found if the text is not there.
    pub fn edit(&self, name: &str, from: &str, to: &str) -> Result<(), LabError> {
        let path = self.directory.join(format!("{name}.yaml"));
        let io = |source| LabError::Io {
            path: path.clone(),
            source,
        };
        let text = std::fs::read_to_string(&path).map_err(io)?;
        if !text.contains(from) {
            return Err(io(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{from:?} is not in it"),
            )));
        }
        self.apply(name, &text.replace(from, to))
    }

    /// The path of `<name>.yaml`.
    pub fn yaml(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.yaml"))
    }

    pub(super) fn write_yaml(
        &self,
        prefix: &str,
        node: &NodeNumber,
        object: &serde_json::Value,
    ) -> Result<(), LabError> {
        // JSON is YAML.
        self.apply(&format!("{prefix}-{}", node.short()), &object.to_string())
    }

    fn put(&self, file: &str, bytes: &[u8]) -> Result<(), LabError> {
        let path = self.directory.join(file);
        let new = self.directory.join(format!(".{file}.new"));
        std::fs::write(&new, bytes)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|source| LabError::Io { path, source })
    }
}
