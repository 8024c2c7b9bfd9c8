//! Which of several control planes an object is for.
//! In: our revision, the tags, labels. Out: whether we act on an object, and whether we write about it: of
//! each object exactly one revision does. Pure.
//! A name in `istio.io/rev` is a tag, if there is a Service of that tag in the system namespace, else a
//! revision. Without a name all act on an object, and who holds the name `default` writes about it.
//! Source: Istio's `TagWatcher.IsMine`, `LabelsInRevisionOrTags`.

use crate::age::Age;
use crate::config::{DEFAULT_REVISION, MeshConfig};
use crate::selector::{Labels, label};
use ambit_api::labels;
use ambit_crds::{Kind, Object, ObjectKey};
use k8s_openapi::api::core::v1::Service;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Our revision among all.
#[derive(Debug)]
pub(crate) struct Revisions<'a> {
    own: &'a str,
    /// Tag → revision.
    tags: BTreeMap<&'a str, &'a str>,
}

impl<'a> Revisions<'a> {
    /// Reads the tags. Of two Services of one tag the older one counts.
    pub(crate) fn of(
        config: &'a MeshConfig,
        objects: &'a BTreeMap<ObjectKey, Arc<Object>>,
    ) -> Self {
        let namespace = config.system_namespace.as_str();
        let first = ObjectKey::new(Kind::Service, namespace, "");
        let services = objects
            .range(first..)
            .take_while(|(key, _)| key.kind == Kind::Service && &*key.namespace == namespace);
        let mut tagged: Vec<(&Service, &str, &str)> = services
            .filter_map(|(_, object)| {
                let Object::Service(service) = &**object else {
                    return None;
                };
                let labels = service.metadata.labels.as_ref();
                let (tag, revision) = (
                    label(labels, labels::TAG)?,
                    label(labels, labels::REVISION)?,
                );
                Some((&**service, tag, revision))
            })
            .collect();
        tagged.sort_by_cached_key(|(service, ..)| Age::of(&service.metadata));
        let mut tags = BTreeMap::new();
        for (_, tag, revision) in tagged {
            tags.entry(tag).or_insert(revision);
        }
        Self {
            own: &config.revision,
            tags,
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.tags.get(name).copied().unwrap_or(name) == self.own
    }

    /// Whether objects that name no revision are ours to write about.
    pub(crate) fn holds_default(&self) -> bool {
        self.is_own(DEFAULT_REVISION)
    }

    /// Whether we act on an object of the mesh's configuration.
    pub(crate) fn acts_on(&self, key: &ObjectKey, object: &Object) -> bool {
        if !is_configuration(&key.kind) {
            return true;
        }
        let named = label(Some(object.labels()), labels::REVISION);
        named.is_none_or(|name| self.is_own(name))
    }

    /// Whether we run a Gateway, by its labels and its namespace's.
    pub(crate) fn runs(&self, own: Labels<'_>, namespace: Labels<'_>) -> bool {
        let named = label(own, labels::REVISION).or_else(|| label(namespace, labels::REVISION));
        self.is_own(named.unwrap_or(DEFAULT_REVISION))
    }

    /// Whether we write about an object that is no Gateway.
    pub(crate) fn writes_about(&self, object: Option<&Object>) -> bool {
        let named = object.and_then(|object| label(Some(object.labels()), labels::REVISION));
        self.is_own(named.unwrap_or(DEFAULT_REVISION))
    }
}

/// Whether a change of this object may change whom others are for.
pub(crate) fn is_tag(key: &ObjectKey, object: Option<&Object>) -> bool {
    key.kind == Kind::Service && object.is_some_and(|o| o.labels().contains_key(labels::TAG))
}

/// Whether objects of the kind are read by the revision they name.
fn is_configuration(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Namespace
            | Kind::Node
            | Kind::ServiceAccount
            | Kind::Pod
            | Kind::Service
            | Kind::ConfigMap
            | Kind::EndpointSlice
            | Kind::Gateway
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn mesh(revision: &str) -> MeshConfig {
        MeshConfig {
            revision: revision.to_owned(),
            ..MeshConfig::default()
        }
    }

    fn objects(all: &[Value]) -> BTreeMap<ObjectKey, Arc<Object>> {
        all.iter()
            .map(|value| {
                let object = Object::parse(value.clone()).unwrap();
                (object.key(), Arc::new(object))
            })
            .collect()
    }

    fn tag(name: &str, tag: &str, revision: &str, created: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {
            "name": name, "namespace": "istio-system", "creationTimestamp": created,
            "labels": {"istio.io/tag": tag, "istio.io/rev": revision}}})
    }

    fn named(name: Option<&str>) -> Option<BTreeMap<String, String>> {
        let pair = |name: &str| (labels::REVISION.to_owned(), name.to_owned());
        name.map(|name| [pair(name)].into())
    }

    #[test]
    fn a_name_is_a_tag_or_a_revision() {
        let objects = objects(&[
            tag("a", "prod", "canary", "2026-01-01T00:00:00Z"),
            tag("b", "prod", "default", "2026-02-01T00:00:00Z"),
        ]);
        let (default, canary) = (mesh("default"), mesh("canary"));
        let runs = |config, own: Option<&str>, namespace: Option<&str>| {
            let (own, namespace) = (named(own), named(namespace));
            Revisions::of(config, &objects).runs(own.as_ref(), namespace.as_ref())
        };
        for (own, namespace, of_canary) in [
            (None, None, false),
            (Some("canary"), None, true),
            (Some("prod"), None, true),
            (Some("default"), Some("prod"), false),
            (Some(""), Some("prod"), true),
            (None, Some("prod"), true),
        ] {
            assert_eq!(
                runs(&canary, own, namespace),
                of_canary,
                "{own:?} {namespace:?}"
            );
            assert_eq!(
                runs(&default, own, namespace),
                !of_canary,
                "{own:?} {namespace:?}"
            );
        }
        assert!(!runs(&canary, Some("nobody"), None) && !runs(&default, Some("nobody"), None));
    }

    #[test]
    fn the_name_default_can_be_given_away_and_only_whoever_holds_it_writes() {
        let none = objects(&[]);
        let given = objects(&[tag("t", "default", "canary", "2026-01-01T00:00:00Z")]);
        let (default, canary) = (mesh("default"), mesh("canary"));
        for (objects, of_canary) in [(&none, false), (&given, true)] {
            for (config, holds) in [(&default, !of_canary), (&canary, of_canary)] {
                let revisions = Revisions::of(config, objects);
                assert_eq!(revisions.holds_default(), holds);
                assert_eq!(revisions.writes_about(None), holds);
                assert_eq!(revisions.runs(None, None), holds);
            }
        }
    }

    #[test]
    fn configuration_without_a_name_is_everybodys() {
        let policy = |labels: Value| {
            json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {"name": "p", "namespace": "a", "labels": labels}, "spec": {}})
        };
        let none = objects(&[]);
        let canary = mesh("canary");
        let revisions = Revisions::of(&canary, &none);
        let acts = |labels| {
            let object = Object::parse(policy(labels)).unwrap();
            (
                revisions.acts_on(&object.key(), &object),
                revisions.writes_about(Some(&object)),
            )
        };
        assert_eq!(acts(json!({})), (true, false));
        assert_eq!(acts(json!({"istio.io/rev": "canary"})), (true, true));
        assert_eq!(acts(json!({"istio.io/rev": "default"})), (false, false));
    }
}
