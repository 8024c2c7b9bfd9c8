//! The file tree: which paths are documents of the user, which are status documents, and reading them.

use super::catalog::Text;
use ambit_crds::{Kind, ObjectKey};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the status tree in the directory.
pub(crate) const STATUS_DIR: &str = ".status";
/// Stands for the namespace of cluster-scoped objects.
const CLUSTER: &str = "_";
const MAX_FILE: u64 = 16 << 20;

/// One status document: `.status/<writer>/<plural>/<namespace or _>/<name>.yaml`; of two kinds with one
/// plural the second carries its group, `gateways.networking.istio.io`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StatusPath {
    pub(crate) writer: String,
    pub(crate) key: ObjectKey,
}

impl StatusPath {
    /// Path relative to the directory.
    pub(crate) fn relative(&self) -> PathBuf {
        let namespace = match &*self.key.namespace {
            "" => CLUSTER,
            namespace => namespace,
        };
        [
            STATUS_DIR,
            &self.writer,
            &self.key.kind.resource(),
            namespace,
        ]
        .iter()
        .collect::<PathBuf>()
        .join(format!("{}.yaml", self.key.name))
    }

    /// Reads a path relative to the directory; `None` for anything else.
    pub(crate) fn parse(relative: &Path) -> Option<Self> {
        let parts: Vec<&str> = relative.iter().map(|p| p.to_str()).collect::<Option<_>>()?;
        let [STATUS_DIR, writer, resource, namespace, file] = parts[..] else {
            return None;
        };
        let name = file.strip_suffix(".yaml")?;
        let kind = Kind::from_resource(resource)?;
        if name.is_empty()
            || name.starts_with('.')
            || (namespace == CLUSTER) == kind.is_namespaced()
        {
            return None;
        }
        Some(Self {
            writer: writer.to_owned(),
            key: ObjectKey::new(kind, namespace, name),
        })
    }
}

/// Whether a top-level entry is a document of the user. Hidden files are editors' business.
pub(super) fn is_document(name: &str) -> bool {
    !name.starts_with('.')
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Names of the user's documents.
pub(super) fn list_files(dir: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_document(name)) {
            out.insert(name.to_owned());
        }
    }
    Ok(out)
}

/// Every status document under the directory. Parts that vanish meanwhile are skipped.
pub(super) fn list_statuses(dir: &Path) -> BTreeSet<StatusPath> {
    fn walk(dir: &Path, relative: &Path, depth: usize, out: &mut BTreeSet<StatusPath>) {
        let Ok(entries) = fs::read_dir(dir.join(relative)) else {
            return;
        };
        for entry in entries.flatten() {
            let path = relative.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth > 0 => walk(dir, &path, depth - 1, out),
                Ok(kind) if kind.is_file() => out.extend(StatusPath::parse(&path)),
                _ => {}
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(dir, Path::new(STATUS_DIR), 3, &mut out);
    out
}

/// Reads a file; `None` when it is gone. Only regular files, at most 16 MiB, UTF-8.
pub(super) fn read_text(path: &Path) -> Option<Text> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(format!("cannot be read: {error}"))),
    };
    // A FIFO or device would block or never end.
    if !meta.is_file() {
        return Some(Err("not a regular file".into()));
    }
    if meta.len() > MAX_FILE {
        return Some(Err(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    match fs::read(path) {
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| "not UTF-8".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_paths_round_trip() {
        for key in [
            ObjectKey::new(Kind::Pod, "default", "reviews-v1"),
            ObjectKey::new(Kind::Node, "", "node-1"),
        ] {
            let path = StatusPath {
                writer: "node-1".into(),
                key,
            };
            assert_eq!(StatusPath::parse(&path.relative()), Some(path));
        }
        for bad in [
            ".status/w/pods/default/.a.yaml",
            ".status/w/pods/_/a.yaml",
            ".status/w/nodes/default/a.yaml",
            ".status/w/things/default/a.yaml",
            ".status/w/pods/a.yaml",
            "w/pods/default/a.yaml",
        ] {
            assert_eq!(StatusPath::parse(Path::new(bad)), None, "{bad}");
        }
    }
}
