//! Everything the server may send, encoded once and shared by all clients.
//! Immutable with structural sharing; remembers the names of its latest changes, so that a client
//! a few generations behind is brought up to date without comparing everything.

use bytes::Bytes;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

/// How many generations of changed names are kept.
const REMEMBERED: usize = 64;

/// Who may see a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Node proxies and gateways.
    Everyone,
    /// Node proxies only.
    Nodes,
    /// Gateways that run with one of these service accounts (`<namespace>/<name>`).
    Gateways(Arc<[String]>),
}

/// One resource, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Hash of the content: equal content has an equal version in every process.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
    /// Other names it is found by.
    pub aliases: Arc<[String]>,
    /// Who may see it.
    pub audience: Audience,
}

impl Resource {
    /// Wraps an encoded message.
    pub fn new(body: Bytes, aliases: impl Into<Arc<[String]>>, audience: Audience) -> Self {
        let digest = Sha256::digest(&body);
        let mut version = String::with_capacity(32);
        for byte in &digest[..16] {
            let _ = write!(version, "{byte:02x}");
        }
        Self {
            version: version.into(),
            body,
            aliases: aliases.into(),
            audience,
        }
    }
}

/// One change of the set.
#[derive(Clone, Debug)]
pub struct ResourceChange {
    /// `type.googleapis.com/…`.
    pub type_url: Arc<str>,
    /// Primary name.
    pub name: Arc<str>,
    /// `None` removes it.
    pub resource: Option<Resource>,
}

/// (type URL, name) of everything one generation changed.
type ChangedNames = Arc<[(Arc<str>, Arc<str>)]>;

/// Resources of one type by name.
pub(crate) type ByName = RedBlackTreeMapSync<Arc<str>, Resource>;

/// All resources of all types at one moment.
#[derive(Clone, Debug, Default)]
pub struct ResourceSet {
    generation: u64,
    types: HashTrieMapSync<Arc<str>, ByName>,
    /// (type, alias) → primary names.
    aliases: HashTrieMapSync<(Arc<str>, String), BTreeSet<Arc<str>>>,
    /// Names changed by each of the latest generations, newest last.
    log: Arc<VecDeque<ChangedNames>>,
}

impl ResourceSet {
    /// Counts the changes applied so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many resources of a type there are.
    pub fn count(&self, type_url: &str) -> usize {
        self.types.get(type_url).map_or(0, ByName::size)
    }

    /// Encoded size of all resources of a type, in bytes.
    pub fn bytes(&self, type_url: &str) -> usize {
        let sizes = |m: &ByName| m.values().map(|r| r.body.len()).sum();
        self.types.get(type_url).map_or(0, sizes)
    }

    /// A resource by its primary name.
    pub fn get(&self, type_url: &str, name: &str) -> Option<&Resource> {
        self.types.get(type_url)?.get(name)
    }

    /// All resources of a type, by name.
    pub fn iter(&self, type_url: &str) -> impl Iterator<Item = (&Arc<str>, &Resource)> {
        self.types.get(type_url).into_iter().flat_map(ByName::iter)
    }

    /// Primary names behind a name or alias.
    pub(crate) fn resolve<'a>(&'a self, type_url: &str, name: &'a str) -> Vec<&'a str> {
        if self.get(type_url, name).is_some() {
            return vec![name];
        }
        let key = (Arc::from(type_url), name.to_owned());
        let names = self.aliases.get(&key).into_iter().flatten();
        names.map(AsRef::as_ref).collect()
    }

    /// The set after `changes`. A change to equal content is no change.
    #[must_use]
    pub fn apply(&self, changes: impl IntoIterator<Item = ResourceChange>) -> Self {
        let mut next = self.clone();
        let mut changed = Vec::new();
        for ResourceChange {
            type_url,
            name,
            resource,
        } in changes
        {
            let mut map = next.types.get(&type_url).cloned().unwrap_or_default();
            let old = map.get(&name).cloned();
            if old == resource {
                continue;
            }
            if let Some(old) = &old {
                next.forget_aliases(&type_url, &name, &old.aliases);
                map.remove_mut(&name);
            }
            if let Some(new) = resource {
                next.remember_aliases(&type_url, &name, &new.aliases);
                map.insert_mut(name.clone(), new);
            }
            next.types.insert_mut(type_url.clone(), map);
            changed.push((type_url, name));
        }
        if !changed.is_empty() {
            next.generation += 1;
            let log = Arc::make_mut(&mut next.log);
            log.push_back(changed.into());
            if log.len() > REMEMBERED {
                log.pop_front();
            }
        }
        next
    }

    fn remember_aliases(&mut self, type_url: &Arc<str>, name: &Arc<str>, aliases: &[String]) {
        for alias in aliases {
            let key = (type_url.clone(), alias.clone());
            let mut names = self.aliases.get(&key).cloned().unwrap_or_default();
            names.insert(name.clone());
            self.aliases.insert_mut(key, names);
        }
    }

    fn forget_aliases(&mut self, type_url: &Arc<str>, name: &Arc<str>, aliases: &[String]) {
        for alias in aliases {
            let key = (type_url.clone(), alias.clone());
            if let Some(mut names) = self.aliases.get(&key).cloned() {
                names.remove(name);
                if names.is_empty() {
                    self.aliases.remove_mut(&key);
                } else {
                    self.aliases.insert_mut(key, names);
                }
            }
        }
    }

    /// Names of a type that may differ from `since`, an earlier state of this set.
    pub(crate) fn changed_since(&self, since: &Self, type_url: &str) -> BTreeSet<Arc<str>> {
        let behind = self.generation.saturating_sub(since.generation) as usize;
        if behind <= self.log.len() {
            let recent = self.log.iter().rev().take(behind);
            return recent
                .flat_map(|batch| batch.iter())
                .filter(|(t, _)| &**t == type_url)
                .map(|(_, name)| name.clone())
                .collect();
        }
        let names = self.iter(type_url).chain(since.iter(type_url));
        names
            .map(|(name, _)| name)
            .filter(|name| self.get(type_url, name) != since.get(type_url, name))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, body: &str) -> ResourceChange {
        let body = Bytes::copy_from_slice(body.as_bytes());
        ResourceChange {
            type_url: "t".into(),
            name: name.into(),
            resource: Some(Resource::new(
                body,
                vec![format!("alias-{name}")],
                Audience::Everyone,
            )),
        }
    }

    #[test]
    fn equal_content_is_no_change() {
        let a = ResourceSet::default().apply([set("a", "1")]);
        assert_eq!(a.apply([set("a", "1")]).generation(), a.generation());
        assert_ne!(a.apply([set("a", "2")]).generation(), a.generation());
    }

    #[test]
    fn a_client_far_behind_is_compared_whole_and_a_near_one_by_the_log() {
        let start = ResourceSet::default().apply([set("keep", "x"), set("gone", "x")]);
        let mut now = start.clone();
        for i in 0..REMEMBERED + 5 {
            now = now.apply([set("moving", &i.to_string())]);
        }
        let gone = ResourceChange {
            type_url: "t".into(),
            name: "gone".into(),
            resource: None,
        };
        let near = now.clone();
        now = now.apply([gone]);
        let names = |s: BTreeSet<Arc<str>>| s.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(names(now.changed_since(&start, "t")), ["gone", "moving"]);
        assert_eq!(names(now.changed_since(&near, "t")), ["gone"]);
        assert!(now.changed_since(&near, "other").is_empty());
    }

    #[test]
    fn aliases_follow_their_resource() {
        let s = ResourceSet::default().apply([set("a", "1")]);
        assert_eq!(s.resolve("t", "alias-a"), ["a"]);
        let s = s.apply([ResourceChange {
            type_url: "t".into(),
            name: "a".into(),
            resource: None,
        }]);
        assert!(s.resolve("t", "alias-a").is_empty());
        assert_eq!(s.aliases.size(), 0);
    }
}
