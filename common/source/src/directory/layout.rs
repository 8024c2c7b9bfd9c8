//! What a path below the directory means. Pure.

use ambit_crds::{Kind, ObjectKey};
use std::path::{Path, PathBuf};

/// Where writers keep their files.
pub(crate) const STATUS: &str = ".status";
/// Directory name of cluster-scoped objects.
const NO_NAMESPACE: &str = "_";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the user's.
    User,
    /// A writer's.
    Status {
        /// Who wrote it.
        writer: String,
        /// What it is about.
        key: ObjectKey,
    },
}

/// What `path` is; `None` for what is not ours to read (hidden, temporary, other suffixes).
pub(crate) fn place(dir: &Path, path: &Path) -> Option<Place> {
    let parts: Vec<&str> = path
        .strip_prefix(dir)
        .ok()?
        .iter()
        .map(|p| p.to_str())
        .collect::<Option<_>>()?;
    let (file, _) = parts.split_last()?;
    let stem = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml"))?;
    match parts.as_slice() {
        [_] if !stem.starts_with('.') => Some(Place::User),
        [STATUS, writer, plural, namespace, _] => {
            let kind = Kind::from_plural(plural)?;
            let namespace = if *namespace == NO_NAMESPACE { "" } else { namespace };
            Some(Place::Status {
                writer: (*writer).to_owned(),
                key: ObjectKey::new(kind, namespace, stem),
            })
        }
        _ => None,
    }
}

/// Where a writer keeps what it says of `key`, relative to the directory.
pub(crate) fn status_path(writer: &str, key: &ObjectKey) -> PathBuf {
    let namespace = match &*key.namespace {
        "" => NO_NAMESPACE,
        namespace => namespace,
    };
    Path::new(STATUS)
        .join(writer)
        .join(key.kind.plural())
        .join(namespace)
        .join(format!("{}.yaml", key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_path_is_read_back_as_what_it_was_written_for() {
        let dir = Path::new("/d");
        for key in [
            ObjectKey::new(Kind::Pod, "a", "p.x"),
            ObjectKey::new(Kind::Node, "", "n"),
        ] {
            let path = dir.join(status_path("w", &key));
            let writer = "w".to_owned();
            assert_eq!(place(dir, &path), Some(Place::Status { writer, key }));
        }
    }

    #[test]
    fn other_files_are_not_read() {
        let dir = Path::new("/d");
        for path in ["/d/.x.yaml", "/d/x.yaml~", "/d/sub/x.yaml", "/d/.status/w/x.yaml", "/e/x.yaml"] {
            assert_eq!(place(dir, Path::new(path)), None, "{path}");
        }
        assert_eq!(place(dir, Path::new("/d/x.yml")), Some(Place::User));
    }
}
