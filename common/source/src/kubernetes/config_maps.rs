//! Follows the ConfigMaps that shape gateways, and no others: those that Gateways name, and the class defaults of
//! one namespace. They are read again and again instead of watched: reading by name needs no right to list, so the
//! controller can see what users point it to, and nothing else.
//! In: what the watches say of Gateways. Out: news of ConfigMaps.
//! Must not happen here: a ConfigMap told gone because the API server was away.

use super::catalog::News;
use super::feed::{Pace, answer, read};
use super::kinds::resource;
use super::request::{Cause, is_code};
use crate::directory::Content;
use ambit_crds::{Kind, Object, ObjectKey};
use ambit_runtime::causes::causes;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A change of a ConfigMap is seen after at most this.
const LOOK: Duration = Duration::from_secs(5);

/// Label of class defaults.
const CLASS_DEFAULTS: &str = "gateway.istio.io/defaults-for-class";

/// Namespace and name.
pub(super) type Names = BTreeSet<(String, String)>;

/// Which ConfigMaps Gateways name.
#[derive(Debug)]
pub(super) struct Named {
    of: BTreeMap<ObjectKey, (String, String)>,
    listed: bool,
    /// `None` until all Gateways are known.
    told: watch::Sender<Option<Names>>,
}

impl Named {
    pub(super) fn new() -> (Self, watch::Receiver<Option<Names>>) {
        let (told, names) = watch::channel(None);
        let of = BTreeMap::new();
        let listed = false;
        (Self { of, listed, told }, names)
    }

    /// Takes note of Gateways. Whoever changes one that names a ConfigMap may have changed that, too: it is
    /// read again.
    pub(super) fn note(&mut self, news: &News) {
        let mut touched = false;
        match news {
            News::Object(key, Content::Good { object, .. }) => {
                let Object::Gateway(gateway) = &**object else {
                    return;
                };
                let infrastructure = gateway.spec.infrastructure.as_ref();
                let named = infrastructure.and_then(|i| i.parameters_ref.as_ref());
                match named.filter(|named| named.is_config_map()) {
                    Some(named) => {
                        let name = (key.namespace.to_string(), named.name.clone());
                        self.of.insert(key.clone(), name);
                        touched = true;
                    }
                    None => drop(self.of.remove(key)),
                }
            }
            News::Gone(key) if key.kind == Kind::Gateway => drop(self.of.remove(key)),
            News::Listed(Kind::Gateway, there) => {
                self.of.retain(|key, _| there.contains(key));
                self.listed = true;
            }
            _ => return,
        }
        if self.listed {
            let names: Names = self.of.values().cloned().collect();
            self.told.send_if_modified(|told| {
                let differs = told.as_ref() != Some(&names);
                *told = Some(names);
                differs || touched
            });
        }
    }
}

/// What the task works with.
pub(super) struct ConfigMaps {
    pub(super) client: Client,
    /// Where class defaults are.
    pub(super) namespace: String,
    pub(super) news: mpsc::Sender<News>,
    pub(super) names: watch::Receiver<Option<Names>>,
    /// Whether it was said that some may not be read.
    pub(super) denied: bool,
}

impl ConfigMaps {
    /// Runs until nobody reads.
    pub(super) async fn run(mut self) {
        let mut pace = Pace::default();
        loop {
            let names = match self.names.wait_for(Option::is_some).await {
                Ok(names) => names.clone().unwrap_or_default(),
                Err(_) => return,
            };
            match self.found(&names).await {
                Ok(found) => {
                    pace = Pace::default();
                    if self.tell(found).await.is_err() {
                        return;
                    }
                    // A Gateway that names one is served at once.
                    if let Ok(Err(_)) = timeout(LOOK, self.names.changed()).await {
                        return;
                    }
                }
                Err(cause) => {
                    tracing::warn!(error = %causes(&cause), "cannot read ConfigMaps of gateways");
                    pace.wait().await;
                }
            }
        }
    }

    async fn tell(&self, found: Vec<DynamicObject>) -> Result<(), mpsc::error::SendError<News>> {
        let resource = resource(&Kind::ConfigMap, "v1");
        let mut there = BTreeSet::new();
        for object in found {
            let (key, content) = read(&Kind::ConfigMap, &resource, object);
            there.insert(key.clone());
            self.news.send(News::Object(key, content)).await?;
        }
        let listed = News::Listed(Kind::ConfigMap, there);
        self.news.send(listed).await
    }

    async fn found(&mut self, names: &Names) -> Result<Vec<DynamicObject>, Cause> {
        let resource = resource(&Kind::ConfigMap, "v1");
        let api = |namespace: &str| -> Api<DynamicObject> {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        };
        let labelled = ListParams::default().labels(CLASS_DEFAULTS);
        let listed = answer(api(&self.namespace).list(&labelled)).await;
        let mut found = match allowed(listed.map(Some), &mut self.denied)? {
            Some(list) => list.items,
            None => Vec::new(),
        };
        for (namespace, name) in names {
            let one = answer(api(namespace).get_opt(name)).await;
            found.extend(allowed(one, &mut self.denied)?);
        }
        Ok(found)
    }
}

/// What may not be read is not there, for all that can be known.
fn allowed<T>(answer: Result<Option<T>, Cause>, denied: &mut bool) -> Result<Option<T>, Cause> {
    match answer {
        Err(Cause::Api(error)) if is_code(&error, 403) => {
            if !std::mem::replace(denied, true) {
                tracing::error!(error = %causes(&error), "may not read a ConfigMap of a gateway");
            }
            Ok(None)
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn gateway(name: &str, parameters: serde_json::Value) -> News {
        let object = Object::parse(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"gatewayClassName": "istio", "infrastructure": {"parametersRef": parameters}},
        }));
        let object = Arc::new(object.unwrap());
        let content = Content::Good {
            key: object.key(),
            value: Arc::default(),
            object,
            warnings: Vec::new(),
        };
        News::Object(ObjectKey::new(Kind::Gateway, "n", name), content)
    }

    #[test]
    fn only_what_gateways_name_is_read_and_not_before_all_are_known() {
        let (mut named, told) = Named::new();
        let key = |name| ObjectKey::new(Kind::Gateway, "n", name);
        let map = |name: &str| json!({"group": "", "kind": "ConfigMap", "name": name});
        named.note(&gateway("a", map("x")));
        named.note(&gateway(
            "b",
            json!({"group": "g", "kind": "ConfigMap", "name": "y"}),
        ));
        assert_eq!(*told.borrow(), None);
        named.note(&News::Listed(Kind::Service, BTreeSet::new()));
        assert_eq!(*told.borrow(), None);
        let both = BTreeSet::from([key("a"), key("b")]);
        named.note(&News::Listed(Kind::Gateway, both));
        let names = |names: &[&str]| {
            let names = names
                .iter()
                .map(|name| ("n".to_owned(), (*name).to_owned()));
            Some(names.collect::<Names>())
        };
        assert_eq!(*told.borrow(), names(&["x"]));
        named.note(&gateway("b", map("z")));
        assert_eq!(*told.borrow(), names(&["x", "z"]));
        named.note(&gateway("a", serde_json::Value::Null));
        assert_eq!(*told.borrow(), names(&["z"]));
        named.note(&News::Gone(key("b")));
        assert_eq!(*told.borrow(), names(&[]));
    }
}
