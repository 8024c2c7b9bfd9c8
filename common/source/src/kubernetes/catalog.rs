//! What the watches said so far: last good version of every object, and what readers were told. Pure.
//! Rules: an object that became bad keeps its last good version until it is gone; a list removes what
//! it does not hold; nothing is told before every kind was listed or found to be missing.

use crate::directory::Content;
use crate::told::Told;
use crate::{Batch, Problem};
use ambit_crds::{FieldError, Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// What a watch of one kind says.
#[derive(Debug)]
pub(super) enum News {
    /// An object is there, new or changed.
    Object(ObjectKey, Content),
    /// An object is gone.
    Gone(ObjectKey),
    /// The objects of a kind are these, and no others.
    Listed(Kind, BTreeSet<ObjectKey>),
}

#[derive(Debug, Default)]
struct Entry {
    good: Option<Arc<Object>>,
    found: Vec<FieldError>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Catalog {
    entries: BTreeMap<ObjectKey, Entry>,
    told: Told,
    dirty: BTreeSet<ObjectKey>,
    /// Objects with problems.
    flawed: BTreeSet<ObjectKey>,
    problems_changed: bool,
    /// Kinds not listed yet.
    waiting: BTreeSet<Kind>,
    started: bool,
}

impl Catalog {
    /// A catalogue of these kinds.
    pub(super) fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        Self {
            entries: BTreeMap::new(),
            told: Told::default(),
            dirty: BTreeSet::new(),
            flawed: BTreeSet::new(),
            problems_changed: false,
            waiting: kinds.collect(),
            started: false,
        }
    }

    /// Whether every kind was listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes news in.
    pub(super) fn note(&mut self, news: News) {
        match news {
            News::Object(key, content) => self.set(key, content),
            News::Gone(key) => self.remove(&key),
            News::Listed(kind, there) => {
                // Keys sort by kind first.
                let first = ObjectKey::new(kind.clone(), "", "");
                let gone: Vec<ObjectKey> = self
                    .entries
                    .range(first..)
                    .map(|(key, _)| key)
                    .take_while(|key| key.kind == kind)
                    .filter(|key| !there.contains(*key))
                    .cloned()
                    .collect();
                for key in gone {
                    self.remove(&key);
                }
                self.waiting.remove(&kind);
            }
        }
    }

    fn set(&mut self, key: ObjectKey, content: Content) {
        let entry = self.entries.entry(key.clone()).or_default();
        let found = match content {
            Content::Good {
                object, warnings, ..
            } => {
                entry.good = Some(object);
                warnings
            }
            Content::Ignored(warning) => warning.into_iter().collect(),
            Content::Bad { errors, .. } => errors,
        };
        if entry.found != found {
            self.problems_changed = true;
            match found.is_empty() {
                true => self.flawed.remove(&key),
                false => self.flawed.insert(key.clone()),
            };
            entry.found = found;
        }
        self.dirty.insert(key);
    }

    fn remove(&mut self, key: &ObjectKey) {
        if self.entries.remove(key).is_some() {
            self.problems_changed |= self.flawed.remove(key);
            self.dirty.insert(key.clone());
        }
    }

    /// What readers have to learn; `None` while kinds are missing or when nothing changed.
    pub(super) fn settle(&mut self) -> Option<Batch> {
        if !self.is_complete() {
            return None;
        }
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let now = self.entries.get(&key).and_then(|entry| entry.good.clone());
            changes.extend(self.told.change(key, now));
        }
        if self.started && changes.is_empty() && !self.problems_changed {
            return None;
        }
        self.started = true;
        self.problems_changed = false;
        Some(Batch {
            changes,
            problems: self.problems(),
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let of = |key: &ObjectKey| {
            let found = self.entries.get(key).map(|entry| entry.found.clone());
            let file = place(key);
            let problem = move |error| Problem {
                file: file.clone(),
                document: 0,
                line: 0,
                error,
            };
            found.unwrap_or_default().into_iter().map(problem)
        };
        self.flawed.iter().flat_map(of).collect()
    }
}

/// Where an object is found, as its path in the API says it.
fn place(key: &ObjectKey) -> PathBuf {
    let mut resource = key.kind.plural();
    if !key.kind.group().is_empty() {
        resource = format!("{resource}.{}", key.kind.group());
    }
    let parts = [resource.as_str(), &key.namespace, &key.name];
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests;
