//! Directories of pods below a cgroup2 mount.
//! In: a cgroup2 directory and uids. Out: the directory of all pods, or of single ones.
//! Owns nothing. Must not happen here: a look into the cgroups of a pod, whose names the pod may choose.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::pod_cgroup::{CgroupUid, Name, name};

/// The directory of all pods of this node: the one nearest to the root.
pub fn kubepods(root: &Path) -> Option<PathBuf> {
    walk(root, |component, path| {
        (name(component) == Name::Kubepods).then(|| path.to_owned())
    })
    .next()
}

/// The pod-level directories of these pods, each with its uid, as far as they are there.
pub fn pods<'a>(root: &Path, uids: &'a [CgroupUid]) -> Vec<(&'a CgroupUid, PathBuf)> {
    if uids.is_empty() {
        return Vec::new();
    }
    walk(root, |component, path| {
        let Name::Pod(named) = name(component) else {
            return None;
        };
        let uid = uids.iter().find(|uid| uid.is_named(named))?;
        Some((uid, path.to_owned()))
    })
    .collect()
}

/// Breadth first, never below a pod, at most as deep as kubelet nests.
fn walk<T>(root: &Path, pick: impl Fn(&str, &Path) -> Option<T>) -> impl Iterator<Item = T> {
    let mut open = VecDeque::from([(root.to_owned(), 0)]);
    let mut found = VecDeque::new();
    std::iter::from_fn(move || {
        loop {
            if let Some(item) = found.pop_front() {
                return Some(item);
            }
            let (dir, depth) = open.pop_front()?;
            for path in children(&dir) {
                let Some(component) = path.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                found.extend(pick(component, &path));
                let inside = matches!(name(component), Name::Pod(_));
                if !inside && depth < DEEPEST && open.len() < WIDEST {
                    open.push_back((path, depth + 1));
                }
            }
        }
    })
}

fn children(dir: &Path) -> Vec<PathBuf> {
    // A cgroup may go while it is looked at.
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Directories between the root and those of pods; `kubelet/kubepods/burstable` has three.
const DEEPEST: usize = 6;
/// Directories waiting to be looked into; a node has some hundreds.
const WIDEST: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        dir
    }

    fn found(dir: &tempfile::TempDir, uids: &[&str]) -> Vec<String> {
        let uids: Vec<_> = uids.iter().filter_map(|uid| CgroupUid::new(uid)).collect();
        let relative = |path: PathBuf| {
            let below = path.strip_prefix(dir.path()).unwrap();
            below.to_str().unwrap().to_owned()
        };
        pods(dir.path(), &uids)
            .into_iter()
            .map(|(_, path)| relative(path))
            .collect()
    }

    #[test]
    fn pods_of_both_drivers_are_found_at_their_own_level() {
        let dir = tree(&[
            "kubepods/burstable/poda-1/ctr/podb-2",
            "kubepods/podb-2/ctr",
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podc_3.slice/cri-x.scope",
            "system.slice/podd-4.scope",
        ]);
        assert_eq!(
            found(&dir, &["b-2", "a-1", "c-3", "d-4"]),
            [
                "kubepods/podb-2",
                "kubepods/burstable/poda-1",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podc_3.slice",
            ]
        );
        assert!(found(&dir, &[]).is_empty());
        assert!(found(&dir, &["e-5"]).is_empty());
    }

    #[test]
    fn kubepods_is_found_wherever_kubelet_was_told_to_put_it() {
        for (made, expected) in [
            ("kubepods/burstable", Some("kubepods")),
            ("kubepods.slice/x", Some("kubepods.slice")),
            ("kubelet/kubepods/x", Some("kubelet/kubepods")),
            (
                "kubelet.slice/kubelet-kubepods.slice",
                Some("kubelet.slice/kubelet-kubepods.slice"),
            ),
            ("kubepods/poda/kubepods", Some("kubepods")),
            ("system.slice", None),
        ] {
            let dir = tree(&[made]);
            let expected = expected.map(|path| dir.path().join(path));
            assert_eq!(kubepods(dir.path()), expected, "{made}");
        }
        assert_eq!(kubepods(Path::new("/nowhere")), None);
    }
}
