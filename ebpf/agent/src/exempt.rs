//! The proxies' cgroups, whose processes are never captured.
//! In: paths below the cgroup2 mount, or the pods of the node. Out: the kernel's list of exempt cgroups.
//! Owns the set of proxy pods. Must not happen here: an exemption by mark, which any pod can forge, or by a
//! label alone, which any user can set; a proxy that loses its exemption because nothing is known yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ambit_ebpf_loader::{Capture, CgroupError, CgroupRef, ExemptError, cgroup2_mount_of};

use crate::events::Facts;
use crate::sandbox::cgroup_tree;
use crate::sandbox::pod_cgroup::CgroupUid;

/// Where proxies run. Clones share it.
#[derive(Debug, Clone)]
pub struct Exemption(Arc<Place>);

#[derive(Debug)]
enum Place {
    /// These directories.
    Paths(Vec<PathBuf>),
    /// The pod-level cgroups of the proxies' pods: all of them, so that a new one can take over from an
    /// old one.
    Pods {
        root: PathBuf,
        namespace: String,
        proxies: Mutex<BTreeMap<(String, String), CgroupUid>>,
    },
}

/// The proxy cannot be exempted.
#[derive(Debug, thiserror::Error)]
pub enum ExemptionError {
    /// No cgroup of a proxy was found.
    #[error("no cgroup of a proxy's pod below {root}")]
    NoProxy {
        /// The cgroup2 directory that was searched.
        root: PathBuf,
    },
    /// Its cgroup is not there or not usable.
    #[error("the proxy's cgroup cannot be used")]
    Cgroup(#[from] CgroupError),
    /// The map cannot be written.
    #[error("the exemption cannot be written")]
    Map(#[from] ExemptError),
}

impl Exemption {
    /// Proxies run in or below these cgroups.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(Arc::new(Place::Paths(paths)))
    }

    /// Proxies are the pods labelled `app=ztunnel` in this namespace; their cgroups are below `root`.
    pub fn of_pods(root: &Path, namespace: &str) -> Self {
        Self(Arc::new(Place::Pods {
            root: root.to_owned(),
            namespace: namespace.to_owned(),
            proxies: Mutex::default(),
        }))
    }

    /// Takes over what the source told; says whether the proxies are others now.
    pub fn learn(&self, facts: &Facts) -> bool {
        let Place::Pods {
            namespace, proxies, ..
        } = self.0.as_ref()
        else {
            return false;
        };
        let mut proxies = locked(proxies);
        let before = proxies.clone();
        if facts.complete {
            proxies.clear();
        }
        for (key, pod) in &facts.pods {
            let uid = pod
                .as_ref()
                .filter(|pod| pod.is_proxy(namespace))
                .and_then(|pod| CgroupUid::new(pod.node_uid()));
            match uid {
                Some(uid) => proxies.insert(key.clone(), uid),
                None => proxies.remove(key),
            };
        }
        *proxies != before
    }

    /// Looks the cgroups up again and writes them: a restarted container has a new id. While none is
    /// found, the kernel's list stays as it is: a running proxy must not be captured because the agent
    /// has just started.
    ///
    /// # Errors
    /// [`ExemptionError`].
    pub fn refresh(&self, capture: &Capture) -> Result<(), ExemptionError> {
        let found = self
            .directories()?
            .iter()
            .map(|path| CgroupRef::of(path, &cgroup2_mount_of(path)?))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(capture.set_exempt(&found)?)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, ExemptionError> {
        let (root, proxies) = match self.0.as_ref() {
            Place::Paths(paths) => return Ok(paths.clone()),
            Place::Pods { root, proxies, .. } => (root, proxies),
        };
        let uids: Vec<_> = locked(proxies).values().cloned().collect();
        let found: Vec<_> = cgroup_tree::pods(root, &uids)
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        if found.is_empty() {
            return Err(ExemptionError::NoProxy { root: root.clone() });
        }
        Ok(found)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::PodFacts;

    fn pod(
        namespace: &str,
        name: &str,
        app: &str,
        uid: &str,
    ) -> ((String, String), Option<PodFacts>) {
        let facts = PodFacts {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ..PodFacts::default()
        };
        ((namespace.into(), name.into()), Some(facts))
    }

    fn told(complete: bool, pods: Vec<((String, String), Option<PodFacts>)>) -> Facts {
        Facts {
            complete,
            pods,
            ..Facts::default()
        }
    }

    #[test]
    fn proxies_of_a_rolling_upgrade_are_exempt_together_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        for uid in ["old", "new", "fake", "app"] {
            let dir = root.path().join(format!("kubepods/burstable/pod{uid}/c"));
            std::fs::create_dir_all(dir).unwrap();
        }
        let exemption = Exemption::of_pods(root.path(), "istio-system");
        assert!(matches!(
            exemption.directories(),
            Err(ExemptionError::NoProxy { .. })
        ));
        let names = |exemption: &Exemption| -> Vec<String> {
            let found = exemption.directories().unwrap();
            let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            found.iter().map(name).collect()
        };
        let first = vec![
            pod("istio-system", "ztunnel-a", "ztunnel", "old"),
            pod("shop", "ztunnel-a", "ztunnel", "fake"),
            pod("istio-system", "other", "web", "app"),
        ];
        assert!(exemption.learn(&told(true, first)));
        assert_eq!(names(&exemption), ["podold"]);
        let surge = vec![pod("istio-system", "ztunnel-b", "ztunnel", "new")];
        assert!(exemption.learn(&told(false, surge.clone())));
        assert!(!exemption.learn(&told(false, surge.clone())));
        assert_eq!(names(&exemption), ["podnew", "podold"]);
        let old_gone = vec![(("istio-system".into(), "ztunnel-a".into()), None)];
        assert!(exemption.learn(&told(false, old_gone)));
        assert_eq!(names(&exemption), ["podnew"]);
        let mut finished = surge;
        finished[0].1.as_mut().unwrap().finished = true;
        assert!(exemption.learn(&told(false, finished)));
        assert!(exemption.directories().is_err());
    }

    #[test]
    fn fixed_paths_learn_nothing() {
        let exemption = Exemption::new(vec!["/x".into()]);
        assert!(!exemption.learn(&told(true, Vec::new())));
        assert_eq!(exemption.directories().unwrap(), [PathBuf::from("/x")]);
    }
}
