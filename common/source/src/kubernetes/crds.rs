//! Notices that definitions of custom kinds appear: wakes the feeds that wait for theirs.
//! Only names are read. Without the right to watch definitions the feeds still look by themselves.

use super::feed::Pace;
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::pin::pin;
use tokio::sync::watch;

/// Counts up whenever a definition of one of `names` is touched. Runs until nobody listens.
pub(super) async fn run(client: Client, names: BTreeSet<String>, touched: watch::Sender<u64>) {
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let events = watcher(definitions, watcher::Config::default());
    let mut events = pin!(events);
    let mut pace = Pace::default();
    while !touched.is_closed() {
        match events.next().await {
            None => return,
            Some(Ok(event)) => {
                pace = Pace::default();
                let name = match &event {
                    Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                        object.metadata.name.as_deref()
                    }
                    Event::Init | Event::InitDone => None,
                };
                if name.is_some_and(|name| names.contains(name)) {
                    touched.send_modify(|count| *count += 1);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "definitions of custom kinds are not watched"
                );
                pace.wait().await;
            }
        }
    }
}
