//! What must be written on pods of an API server, and what is written there.
//! In: the reconcile task's words; pods as the source tells them. Out: patches that are due.
//! Owns one entry per pod: bounded by the pods of the node. Pure but for the clock passed in.
//! Must not happen here: a word about a pod that has taken the name of another.

use std::collections::BTreeMap;
use std::time::Duration;

use ambit_api::labels;
use tokio::time::Instant;

use super::Announced;
use crate::events::Facts;
use crate::intent::PodFacts;

/// All entries, by the uid that the node knows the pod by.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: BTreeMap<String, Entry>,
}

/// One pod.
#[derive(Debug, Default)]
struct Entry {
    /// What is to be said; `None` while the agent has no word about it.
    word: Option<Announced>,
    /// The pod as the API server has it.
    object: Option<Object>,
    retry: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    namespace: String,
    name: String,
    uid: String,
    annotation: Option<String>,
}

/// One annotation to write or remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// Key of the entry.
    pub(super) key: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `metadata.uid` of the pod meant.
    pub(super) uid: String,
    pub(super) value: Option<&'static str>,
}

/// What became of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    PodGone,
    Failed,
}

impl Board {
    /// The reconcile task says something about a pod.
    pub(super) fn say(&mut self, uid: &str, word: Announced) {
        let entry = self.entries.entry(uid.to_owned()).or_default();
        entry.word = Some(word);
        entry.retry = None;
        self.drop_if_done(uid);
    }

    /// The source told of pods.
    pub(super) fn observe(&mut self, facts: &Facts) {
        if facts.complete {
            self.entries
                .values_mut()
                .for_each(|entry| entry.object = None);
        }
        for (key, pod) in &facts.pods {
            self.forget_object(key, pod.as_ref());
            if let Some(pod) = pod.as_ref().filter(|pod| !pod.uid.is_empty()) {
                let entry = self.entries.entry(pod.node_uid().to_owned()).or_default();
                entry.object = Some(object(pod));
            }
        }
        self.entries.retain(|_, entry| !entry.is_done());
    }

    /// Takes back what stands on pods that are not among `mine`.
    pub(super) fn forget_others(&mut self, mine: impl Fn(&str, &str) -> bool) {
        for entry in self.entries.values_mut() {
            let Some(object) = &entry.object else {
                continue;
            };
            if object.annotation.is_some() && !mine(&object.namespace, &object.name) {
                entry.word = Some(Announced::Nothing);
            }
        }
    }

    /// Patches to write now.
    pub(super) fn due(&self, now: Instant) -> Vec<Patch> {
        let entries = self.entries.iter();
        entries
            .filter(|(_, entry)| entry.retry.is_none_or(|(at, _)| at <= now))
            .filter_map(|(key, entry)| entry.patch(key))
            .collect()
    }

    /// When a patch that failed is due again.
    pub(super) fn next(&self) -> Option<Instant> {
        let waiting = self.entries.iter();
        waiting
            .filter(|(key, entry)| entry.patch(key).is_some())
            .filter_map(|(_, entry)| entry.retry.map(|(at, _)| at))
            .min()
    }

    /// Whether everything that was said stands where it should.
    pub(super) fn is_settled(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.all(|(key, entry)| entry.patch(key).is_none())
    }

    /// A patch was tried. The source tells later what stands there; until then the answer counts.
    pub(super) fn tried(&mut self, patch: &Patch, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(&patch.key) else {
            return;
        };
        let same = entry
            .object
            .as_ref()
            .is_some_and(|object| object.uid == patch.uid);
        match outcome {
            Outcome::Failed => {
                let delay = entry
                    .retry
                    .map_or(FIRST_RETRY, |(_, delay)| (delay * 2).min(LONGEST_RETRY));
                entry.retry = Some((now + delay, delay));
                return;
            }
            Outcome::PodGone if same => entry.object = None,
            Outcome::Written if same => {
                if let Some(object) = &mut entry.object {
                    object.annotation = patch.value.map(str::to_owned);
                }
            }
            Outcome::PodGone | Outcome::Written => {}
        }
        entry.retry = None;
        self.drop_if_done(&patch.key);
    }

    /// An object that is gone, or whose name is another pod's now.
    fn forget_object(&mut self, key: &(String, String), pod: Option<&PodFacts>) {
        for entry in self.entries.values_mut() {
            let named = entry.object.as_ref().is_some_and(|object| {
                (&object.namespace, &object.name) == (&key.0, &key.1)
                    && pod.is_none_or(|pod| pod.uid != object.uid)
            });
            if named {
                entry.object = None;
            }
        }
    }

    fn drop_if_done(&mut self, uid: &str) {
        if self.entries.get(uid).is_some_and(Entry::is_done) {
            self.entries.remove(uid);
        }
    }
}

impl Entry {
    fn patch(&self, key: &str) -> Option<Patch> {
        let (word, object) = (self.word?, self.object.as_ref()?);
        let value = value(word);
        (object.annotation.as_deref() != value).then(|| Patch {
            key: key.to_owned(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            value,
        })
    }

    /// There is no object, and nothing to say if one came.
    fn is_done(&self) -> bool {
        self.object.is_none() && self.word.is_none_or(|word| value(word).is_none())
    }
}

/// What the annotation says.
pub(super) fn value(word: Announced) -> Option<&'static str> {
    match word {
        Announced::Enabled => Some("enabled"),
        Announced::Pending => Some("pending"),
        Announced::Nothing | Announced::Unknown => None,
    }
}

fn object(pod: &PodFacts) -> Object {
    Object {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        annotation: pod.annotations.get(labels::REDIRECTION).cloned(),
    }
}

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
