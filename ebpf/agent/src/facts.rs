//! What the source has told so far.
//! In: changes of pods and namespaces. Out: facts of one pod, its intent, and what the CNI plugin may know.
//! Owns the last state of every pod and namespace it was told of. Pure.

use std::collections::BTreeMap;

use ambit_cni::known::Known;

use crate::events::Facts;
use crate::intent::{Intent, PodFacts, Reason, intent, selects};

/// Pods and namespaces as the source has them.
#[derive(Debug, Default)]
pub struct Seen {
    complete: bool,
    /// No proxy is wanted on this node.
    outside: bool,
    pods: BTreeMap<(String, String), PodFacts>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Seen {
    /// Takes changes over.
    pub fn update(&mut self, facts: Facts) {
        if facts.complete {
            self.complete = true;
            self.pods.clear();
            self.namespaces.clear();
        }
        for (key, pod) in facts.pods {
            match pod {
                Some(pod) => {
                    self.pods.insert(key, pod);
                }
                None => {
                    self.pods.remove(&key);
                }
            }
        }
        for (name, labels) in facts.namespaces {
            match labels {
                Some(labels) => {
                    self.namespaces.insert(name, labels);
                }
                None => {
                    self.namespaces.remove(&name);
                }
            }
        }
    }

    /// Whether the source has told everything once.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The pod of that name, unless it is another one of the same name.
    pub fn pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<PodFacts> {
        let found = self.pods.get(&(namespace.to_owned(), name.to_owned()))?;
        let same = uid
            .is_none_or(|uid| found.uid.is_empty() || found.uid == uid || found.node_uid() == uid);
        (self.complete && same).then(|| found.clone())
    }

    /// All pods; none before the source has told everything once.
    pub fn pods(&self) -> impl Iterator<Item = &PodFacts> {
        self.pods.values().filter(|_| self.complete)
    }

    /// What the source would tell if every pod had opted out.
    pub fn everyone_out(&self) -> Facts {
        let out = |pod: &PodFacts| {
            let mut pod = pod.clone();
            let mode = ambit_api::labels::DATAPLANE_MODE.to_owned();
            pod.labels.insert(mode, "none".into());
            pod
        };
        Facts {
            complete: true,
            pods: self
                .pods
                .iter()
                .map(|(key, pod)| (key.clone(), Some(out(pod))))
                .collect(),
            namespaces: self
                .namespaces
                .iter()
                .map(|(name, labels)| (name.clone(), Some(labels.clone())))
                .collect(),
        }
    }

    /// Sets whether all pods stay outside, whatever they say.
    pub fn set_outside(&mut self, outside: bool) {
        self.outside = outside;
    }

    /// What a pod should be.
    pub fn intent(&self, pod: &PodFacts, excluded: &[String]) -> Intent {
        match intent(pod, self.namespaces.get(&pod.namespace), excluded) {
            Intent::Enroll(_) if self.outside => Intent::StayOut(Reason::NoProxy),
            intent => intent,
        }
    }

    /// What the CNI plugin may rely on while the agent is away.
    pub fn known(&self, excluded: &[String]) -> Known {
        Known {
            namespaces: self
                .namespaces
                .iter()
                .map(|(name, labels)| (name.clone(), selects(labels) && !self.outside))
                .collect(),
            excluded: excluded.to_vec(),
            own_pods: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> ((String, String), Option<PodFacts>) {
        let facts = PodFacts {
            namespace: "shop".into(),
            name: name.into(),
            uid: uid.into(),
            ..PodFacts::default()
        };
        (("shop".into(), name.into()), Some(facts))
    }

    #[test]
    fn nothing_is_known_before_the_first_full_answer() {
        let mut seen = Seen::default();
        seen.update(Facts {
            pods: vec![pod("web", "1")],
            ..Facts::default()
        });
        assert!(seen.pod("shop", "web", None).is_none());
        seen.update(Facts {
            complete: true,
            pods: vec![pod("web", "1")],
            ..Facts::default()
        });
        assert!(seen.pod("shop", "web", Some("1")).is_some());
        assert!(seen.pod("shop", "web", Some("2")).is_none());
        assert!(seen.pod("shop", "other", None).is_none());
    }

    #[test]
    fn a_static_pod_is_known_by_the_hash_of_its_configuration_too() {
        let (key, mirror) = pod("web", "api-uid");
        let mut mirror = mirror.unwrap();
        for annotation in ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"] {
            mirror.annotations.insert(annotation.into(), "hash".into());
        }
        let mut seen = Seen::default();
        seen.update(Facts {
            complete: true,
            pods: vec![(key, Some(mirror))],
            ..Facts::default()
        });
        for (uid, found) in [("hash", true), ("api-uid", true), ("other", false)] {
            assert_eq!(seen.pod("shop", "web", Some(uid)).is_some(), found, "{uid}");
        }
    }

    #[test]
    fn when_everyone_is_out_no_pod_is_wanted() {
        let mut seen = Seen::default();
        let ambient = || [("istio.io/dataplane-mode".to_owned(), "ambient".to_owned())];
        let (key, plain) = pod("web", "1");
        let (other, mut labelled) = pod("db", "2");
        labelled.as_mut().unwrap().labels.extend(ambient());
        seen.update(Facts {
            complete: true,
            pods: vec![(key, plain), (other, labelled)],
            namespaces: vec![("shop".into(), Some(ambient().into()))],
        });
        let enrolled = |seen: &Seen| {
            let intents = seen.pods().map(|pod| seen.intent(pod, &[]));
            intents
                .filter(|intent| matches!(intent, Intent::Enroll(_)))
                .count()
        };
        assert_eq!(enrolled(&seen), 2);
        seen.update(seen.everyone_out());
        assert_eq!((enrolled(&seen), seen.pods().count()), (0, 2));
    }

    #[test]
    fn a_full_answer_forgets_what_it_does_not_name() {
        let mut seen = Seen::default();
        let full = |pods| Facts {
            complete: true,
            pods,
            namespaces: vec![(
                "shop".into(),
                Some([("istio.io/dataplane-mode".into(), "ambient".into())].into()),
            )],
        };
        seen.update(full(vec![pod("web", "1")]));
        let known = seen.known(&["infra".into()]);
        assert_eq!(known.namespaces, [("shop".to_owned(), true)].into());
        assert_eq!(known.excluded, ["infra"]);
        seen.update(full(vec![pod("db", "2")]));
        assert!(seen.pod("shop", "web", None).is_none());
        seen.update(Facts {
            pods: vec![(("shop".into(), "db".into()), None)],
            ..Facts::default()
        });
        assert!(seen.pod("shop", "db", None).is_none());
    }
}
