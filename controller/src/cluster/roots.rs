//! The mesh's root certificates in every namespace, for pods to mount; and, where there are any, the lists of revoked ones.
//! In: what is published, the namespaces there are, the ConfigMaps that carry it now. Out: ConfigMaps
//! that are missing or differ. Only the leader writes; a ConfigMap that someone deletes comes back.
//! Source: Istio's `istio-ca-root-cert` and `istio-ca-crl`.

use super::MANAGER;
use crate::signing::{Signer, Signing, current};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::{Client, Outcome, Writer};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// What the ConfigMaps of one name carry.
#[derive(Clone, Copy)]
pub(crate) struct Carried {
    name: &'static str,
    key: &'static str,
    content: fn(&Signing) -> &str,
}

/// The roots.
pub(crate) const ROOTS: Carried = Carried {
    name: "istio-ca-root-cert",
    key: "root-cert.pem",
    content: |signing| signing.issuer.roots_pem(),
};
/// The lists. Without any the ConfigMaps that there are say nothing.
pub(crate) const REVOKED: Carried = Carried {
    name: "istio-ca-crl",
    key: "ca-crl.pem",
    content: |signing| &signing.revoked,
};
/// Namespaces without pods of users.
const WITHOUT: [&str; 2] = ["kube-public", "kube-node-lease"];
/// Pause after a write or the watch failed.
const RETRY: Duration = Duration::from_secs(2);

/// Namespaces that are not being deleted.
pub(crate) type Namespaces = watch::Receiver<Arc<BTreeSet<String>>>;

/// Keeps them in every namespace.
pub(crate) struct Roots {
    pub(crate) carried: Carried,
    pub(crate) client: Client,
    pub(crate) signer: Signer,
    pub(crate) namespaces: Namespaces,
    pub(crate) leads: watch::Receiver<bool>,
}

impl Roots {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        let api: Api<ConfigMap> = Api::all(self.client.clone());
        let config =
            watcher::Config::default().fields(&format!("metadata.name={}", self.carried.name));
        let mut events = pin!(watcher(api, config));
        let writer = Writer::new(self.client.clone(), MANAGER);
        let mut there = There::default();
        loop {
            let mut pause = None;
            tokio::select! {
                _ = drain.signalled() => return,
                Ok(()) = self.namespaces.changed() => {}
                Ok(()) = self.leads.changed() => {}
                Ok(()) = self.signer.changed() => {}
                event = events.next() => match event {
                    Some(Ok(event)) => there.note(self.carried.key, event),
                    Some(Err(error)) => {
                        let name = self.carried.name;
                        tracing::warn!(name, error = %causes(&error), "ConfigMaps are not watched");
                        pause = Some(RETRY);
                    }
                    None => return,
                },
            }
            if *self.leads.borrow() && there.listed && !self.fill(&writer, &mut there).await {
                pause = Some(RETRY);
            }
            if let Some(pause) = pause {
                tokio::select! {
                    _ = drain.signalled() => return,
                    () = sleep(pause) => {}
                }
            }
        }
    }

    /// Writes what is missing; whether all of it was written.
    async fn fill(&mut self, writer: &Writer, there: &mut There) -> bool {
        let namespaces = self.namespaces.borrow_and_update().clone();
        let signing = current(&self.signer);
        let content = (self.carried.content)(&signing);
        let mut complete = true;
        for namespace in missing(&namespaces, &there.content, content) {
            if !*self.leads.borrow() {
                return true;
            }
            match writer
                .apply(&document(self.carried, &namespace, content))
                .await
            {
                Ok(Outcome::Done) => {
                    there.content.insert(namespace, content.to_owned());
                }
                // The namespace went away meanwhile.
                Ok(Outcome::Absent) => {}
                Err(error) => {
                    complete = false;
                    let error = causes(&error);
                    let name = self.carried.name;
                    tracing::warn!(namespace, name, %error, "ConfigMap not written");
                }
            }
        }
        if !complete {
            // Looked at again although nothing changes.
            self.namespaces.mark_changed();
        }
        complete
    }
}

/// What the ConfigMaps say now.
#[derive(Debug, Default)]
struct There {
    content: BTreeMap<String, String>,
    listed: bool,
}

impl There {
    fn note(&mut self, key: &str, event: Event<ConfigMap>) {
        match event {
            Event::Init => {
                self.listed = false;
                self.content.clear();
            }
            Event::InitDone => self.listed = true,
            Event::Apply(map) | Event::InitApply(map) => {
                let content = map.data.and_then(|mut data| data.remove(key));
                if let Some(namespace) = map.metadata.namespace {
                    self.content.insert(namespace, content.unwrap_or_default());
                }
            }
            Event::Delete(map) => {
                if let Some(namespace) = map.metadata.namespace {
                    self.content.remove(&namespace);
                }
            }
        }
    }
}

fn missing(
    namespaces: &BTreeSet<String>,
    there: &BTreeMap<String, String>,
    wanted: &str,
) -> Vec<String> {
    let lacks = |namespace: &&String| {
        let content = there.get(*namespace).map_or("", String::as_str);
        !WITHOUT.contains(&namespace.as_str()) && content != wanted
    };
    namespaces.iter().filter(lacks).cloned().collect()
}

fn document(carried: Carried, namespace: &str, content: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": carried.name,
            "namespace": namespace,
            "labels": {"istio.io/config": "true"},
        },
        "data": {carried.key: content},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_lack_the_root_or_have_another_get_it() {
        let namespaces = ["a", "b", "c", "kube-public"].map(str::to_owned).into();
        let there = [("a", "root"), ("b", "old"), ("gone", "root")]
            .map(|(namespace, content)| (namespace.to_owned(), content.to_owned()))
            .into();
        assert_eq!(missing(&namespaces, &there, "root"), ["b", "c"]);
        // Nothing to carry: only what there is has to say so.
        assert_eq!(missing(&namespaces, &there, ""), ["a", "b"]);
    }
}
