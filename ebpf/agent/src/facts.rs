//! What the source has told so far.
//! In: changes of pods and namespaces. Out: facts of one pod, its intent, and what the CNI plugin may know.
//! Owns the last state of every pod and namespace it was told of. Pure.

use std::collections::BTreeMap;

use ambit_cni::known::Known;

use crate::events::Facts;
use crate::intent::{Intent, PodFacts, intent, selects};

/// Pods and namespaces as the source has them.
#[derive(Debug, Default)]
pub struct Seen {
    complete: bool,
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
        let same = uid.is_none_or(|uid| found.uid.is_empty() || found.uid == uid);
        (self.complete && same).then(|| found.clone())
    }

    /// What a pod should be.
    pub fn intent(&self, pod: &PodFacts, excluded: &[String]) -> Intent {
        intent(pod, self.namespaces.get(&pod.namespace), excluded)
    }

    /// What the CNI plugin may rely on while the agent is away.
    pub fn known(&self, excluded: &[String]) -> Known {
        Known {
            namespaces: self
                .namespaces
                .iter()
                .map(|(name, labels)| (name.clone(), selects(labels)))
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
