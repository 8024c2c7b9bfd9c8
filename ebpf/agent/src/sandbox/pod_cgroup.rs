//! Which pod a cgroup path belongs to.
//! In: paths as `/proc/<pid>/cgroup` shows them, or names of directories. Out: the pod, and the container.
//! Pure. Must not happen here: a pod claimed by a directory that some pod made below its own cgroup.

/// Pods to look for: each has the uid that kubelet names its cgroup by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupUid(String);

/// What the name of one directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// All pods: `kubepods`, `kubepods.slice`, `kubelet-kubepods.slice`.
    Kubepods,
    /// One pod, by the part of the name that holds its uid.
    Pod(&'a str),
    /// Anything else.
    Other,
}

impl CgroupUid {
    /// `metadata.uid`, or the configuration hash of a static pod. `None` if no cgroup can have it.
    pub fn new(uid: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let usable = (1..=64).contains(&uid.len()) && uid.bytes().all(fine);
        usable.then(|| Self(uid.to_owned()))
    }

    /// Whether the uid in a directory's name is this one: systemd's names have `_` for `-`.
    pub fn is_named(&self, in_name: &str) -> bool {
        in_name.len() == self.0.len()
            && in_name
                .bytes()
                .zip(self.0.bytes())
                .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    }
}

/// Reads the name of a directory.
pub fn name(component: &str) -> Name<'_> {
    match component.strip_suffix(".slice") {
        Some(slice) => match slice.rsplit_once("-pod") {
            Some((parent, uid)) if is_below_kubepods(parent) && !uid.is_empty() => Name::Pod(uid),
            _ if slice == KUBEPODS || slice.ends_with("-kubepods") => Name::Kubepods,
            _ => Name::Other,
        },
        None => match component.strip_prefix("pod") {
            Some(uid) if !uid.is_empty() && !component.contains('.') => Name::Pod(uid),
            _ if component == KUBEPODS => Name::Kubepods,
            _ => Name::Other,
        },
    }
}

/// The outermost pod in a path: what a pod makes below its own cgroup says nothing.
pub fn pod_of(path: &str) -> Option<&str> {
    path.split('/').find_map(|component| match name(component) {
        Name::Pod(uid) => Some(uid),
        Name::Kubepods | Name::Other => None,
    })
}

/// The container directly below the pod in a path, without what runtimes put around its id.
pub fn container_of(path: &str) -> Option<&str> {
    let mut components = path.split('/');
    components.find(|component| matches!(name(component), Name::Pod(_)))?;
    let container = components.next()?;
    let id = container.strip_suffix(".scope").unwrap_or(container);
    let id = id.rsplit_once('-').map_or(id, |(_, id)| id);
    (!id.is_empty()).then_some(id)
}

fn is_below_kubepods(parent: &str) -> bool {
    let class = parent
        .strip_suffix("-burstable")
        .or_else(|| parent.strip_suffix("-besteffort"))
        .unwrap_or(parent);
    class == KUBEPODS || class.ends_with("-kubepods")
}

const KUBEPODS: &str = "kubepods";

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0aa1bb2c-3d4e-5f60-7182-93a4b5c6d7e8";
    const SLICED: &str = "0aa1bb2c_3d4e_5f60_7182_93a4b5c6d7e8";

    #[test]
    fn pods_are_found_in_the_paths_of_both_drivers() {
        let id = "c0ffee";
        for path in [
            format!("/kubepods/pod{UID}/{id}"),
            format!("/kubepods/burstable/pod{UID}/{id}"),
            format!("/kubelet/kubepods/besteffort/pod{UID}/{id}"),
            format!("/../../pod{UID}/{id}"),
            format!("/../../../besteffort/pod{UID}/{id}/inner/podother"),
            format!("/kubepods.slice/kubepods-pod{SLICED}.slice/cri-containerd-{id}.scope"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICED}.slice/crio-{id}.scope"
            ),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{SLICED}.slice/cri-containerd-{id}.scope"
            ),
        ] {
            let found = pod_of(&path).unwrap();
            assert!(CgroupUid::new(UID).unwrap().is_named(found), "{path}");
            assert_eq!(container_of(&path), Some(id), "{path}");
        }
    }

    #[test]
    fn other_paths_have_no_pod() {
        for path in [
            "",
            "/",
            "/system.slice/containerd.service",
            "/kubepods",
            "/kubepods.slice/kubepods-burstable.slice",
            "/user.slice/evil-pod1.slice",
            "/podman.slice",
            "/machine.slice/libpod-1234.scope",
        ] {
            assert_eq!(pod_of(path), None, "{path}");
            assert_eq!(container_of(path), None, "{path}");
        }
    }

    #[test]
    fn the_outermost_pod_counts() {
        let path = format!("/kubepods/podmine/ctr/kubepods/pod{UID}/x");
        assert_eq!(pod_of(&path), Some("mine"));
    }

    #[test]
    fn a_uid_is_compared_whole() {
        let uid = CgroupUid::new("ab-cd").unwrap();
        assert!(uid.is_named("ab-cd") && uid.is_named("ab_cd"));
        for other in ["ab-c", "ab-cde", "ab.cd", "AB-CD", ""] {
            assert!(!uid.is_named(other), "{other}");
        }
        assert!(CgroupUid::new("").is_none());
        assert!(CgroupUid::new("../x").is_none());
        assert!(CgroupUid::new(&"a".repeat(65)).is_none());
    }

    #[test]
    fn names_tell_kubepods() {
        for (component, expected) in [
            ("kubepods", Name::Kubepods),
            ("kubepods.slice", Name::Kubepods),
            ("kubelet-kubepods.slice", Name::Kubepods),
            ("notkubepods", Name::Other),
            ("burstable", Name::Other),
            ("pod", Name::Other),
            ("podx", Name::Pod("x")),
        ] {
            assert_eq!(name(component), expected, "{component}");
        }
    }
}
