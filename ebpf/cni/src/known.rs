//! What the plugin may rely on while the agent is away, and what follows from it.
//! In: the state file, written by the agent by rename. Out: [`WithoutAgent`], a pure decision.
//! Must not happen here: a pod of an enrolled or unknown namespace that passes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The agent's knowledge at its last change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Every namespace the agent has seen, and whether it is enrolled.
    pub namespaces: BTreeMap<String, bool>,
    /// Namespaces that are never in the mesh.
    #[serde(default)]
    pub excluded: Vec<String>,
    /// Pods of the mesh itself.
    #[serde(default)]
    pub own_pods: Vec<PodPattern>,
}

/// `namespace/name`, where the name may end in `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodPattern {
    namespace: String,
    name: String,
}

/// Not of the form `namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not of the form namespace/name or namespace/prefix*")]
pub struct PatternError(String);

/// What to do with an ADD nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutAgent {
    /// The pod is certainly not for the mesh, or part of what must run first.
    Pass(&'static str),
    /// The pod may belong to the mesh: the runtime must try again later.
    Wait(&'static str),
}

impl PodPattern {
    /// Pods of `namespace` whose name is `name`, or begins with it if it ends in `*`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Whether the pod is meant.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace
            && match self.name.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => self.name == name,
            }
    }
}

impl TryFrom<String> for PodPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::new(namespace, name))
            }
            _ => Err(PatternError(text)),
        }
    }
}

impl From<PodPattern> for String {
    fn from(pattern: PodPattern) -> Self {
        format!("{}/{}", pattern.namespace, pattern.name)
    }
}

impl Known {
    /// Reads the state file; `None` if there is none or it is damaged: then nothing is known.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Replaces the state file in one step.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut staging = path.as_os_str().to_owned();
        staging.push(".new");
        fs::write(&staging, serde_json::to_vec(self)?)?;
        fs::rename(&staging, path)
    }
}

/// Decides about one pod with the agent away. `known` is `None` if nothing is known.
pub fn without_agent(known: Option<&Known>, namespace: &str) -> WithoutAgent {
    let Some(known) = known else {
        return WithoutAgent::Wait("the agent does not answer and has not left what it knows");
    };
    if known.excluded.iter().any(|excluded| excluded == namespace) {
        return WithoutAgent::Pass("the namespace is excluded");
    }
    match known.namespaces.get(namespace) {
        Some(false) => WithoutAgent::Pass("the namespace is not enrolled"),
        Some(true) => WithoutAgent::Wait("the namespace is enrolled and the agent does not answer"),
        None => WithoutAgent::Wait("the namespace is unknown and the agent does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            namespaces: [("shop".to_owned(), true), ("plain".to_owned(), false)].into(),
            excluded: vec!["kube-system".into(), "infra".into()],
            own_pods: vec![PodPattern::new("istio-system", "ztunnel-*")],
        }
    }

    #[test]
    fn only_certain_pods_pass_without_the_agent() {
        let cases = [
            (Some(known()), "plain", true),
            (Some(known()), "infra", true),
            (Some(known()), "shop", false),
            (Some(known()), "new", false),
            (None, "plain", false),
        ];
        for (known, namespace, passes) in cases {
            let decided = without_agent(known.as_ref(), namespace);
            assert_eq!(
                matches!(decided, WithoutAgent::Pass(_)),
                passes,
                "{namespace}"
            );
        }
    }

    #[test]
    fn patterns_match_prefixes_within_their_namespace() {
        let pattern = PodPattern::try_from("istio-system/ztunnel-*".to_owned()).unwrap();
        assert!(pattern.matches("istio-system", "ztunnel-x7x"));
        assert!(!pattern.matches("shop", "ztunnel-x7x"));
        assert!(!PodPattern::new("a", "b").matches("a", "bc"));
        for wrong in ["ztunnel", "/x", "a/", "a/b/c"] {
            assert!(PodPattern::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_state_file_survives_a_round_trip_and_damage_means_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known.json");
        assert_eq!(Known::read(&path), None);
        known().write(&path).unwrap();
        assert_eq!(Known::read(&path), Some(known()));
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Known::read(&path), None, "cut at {cut}");
        }
    }
}
