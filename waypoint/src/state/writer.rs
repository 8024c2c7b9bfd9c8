//! The only writer of the state.
//! In: xDS updates, on the control runtime. Out: a new `View` per update, and rejections by name.
//! A resource that does not convert is refused and the good ones of the same update are kept; the
//! one it would have replaced stays in force.

use super::View;
use ambit_api::{route as pb, type_urls, workload};
use ambit_model::convert::{self, ConvertError};
use ambit_model::ids::ClusterName;
use ambit_model::route::Addressee;
use ambit_model::snapshot::{Change, Synced};
use arc_swap::ArcSwap;
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

/// Applies xDS updates.
#[derive(Debug)]
pub struct Writer {
    gateway: Arc<str>,
    current: Arc<ArcSwap<View>>,
    changes: watch::Sender<u64>,
    /// Resource name → the key its router is found by.
    router_names: HashMap<String, (Addressee, u16)>,
}

/// What changed, of one type.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// `type.googleapis.com/…`.
    pub type_url: String,
    /// New or changed resources: name and encoded message.
    pub resources: Vec<(String, Bytes)>,
    /// Names that are gone.
    pub removed: Vec<String>,
    /// The first full response of this type.
    pub first: bool,
}

/// A resource that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

#[derive(Debug, Error)]
enum Refused {
    #[error("cannot be decoded: {0}")]
    Decode(prost::DecodeError),
    #[error("{0}")]
    Convert(ConvertError),
    #[error("an Address holds neither workload nor service")]
    EmptyAddress,
}

impl Writer {
    pub(super) fn new(
        gateway: &str,
        current: Arc<ArcSwap<View>>,
        changes: watch::Sender<u64>,
    ) -> Self {
        Self {
            gateway: gateway.into(),
            current,
            changes,
            router_names: HashMap::new(),
        }
    }

    /// Applies one update; what could not be applied is returned.
    pub fn update(&mut self, update: &Update) -> Vec<Rejected> {
        let mut view = View::clone(&self.current.load());
        let mut rejections = Vec::new();
        let mut reject = |name: &str, refused: &Refused| {
            rejections.push(Rejected {
                name: name.to_owned(),
                reason: refused.to_string(),
            });
        };
        match update.type_url.as_str() {
            type_urls::ADDRESS => addresses(&mut view, update, &mut reject),
            type_urls::GATEWAY => self.gateway(&mut view, update, &mut reject),
            type_urls::ROUTER => self.routers(&mut view, update, &mut reject),
            type_urls::CLUSTER => clusters(&mut view, update, &mut reject),
            type_urls::ENDPOINTS => endpoints(&mut view, update, &mut reject),
            other => tracing::warn!(type_url = other, "unexpected resource type"),
        }
        self.current.store(Arc::new(view));
        self.changes.send_modify(|generation| *generation += 1);
        rejections
    }

    /// Ours; those of other gateways with our account are ignored.
    fn gateway(&self, view: &mut View, update: &Update, reject: &mut impl FnMut(&str, &Refused)) {
        for (name, body) in &update.resources {
            match decoded(body, convert::route::gateway) {
                Ok(gateway) if gateway.name == self.gateway => {
                    view.gateway = Some(Arc::new(gateway));
                }
                Ok(_) => {}
                Err(refused) => reject(name, &refused),
            }
        }
        if update.removed.iter().any(|name| **name == *self.gateway) {
            view.gateway = None;
        }
        view.synced.gateway |= update.first;
    }

    fn routers(
        &mut self,
        view: &mut View,
        update: &Update,
        reject: &mut impl FnMut(&str, &Refused),
    ) {
        for (name, body) in &update.resources {
            let router = match decoded(body, convert::route::router) {
                Ok(router) => router,
                Err(refused) => {
                    reject(name, &refused);
                    continue;
                }
            };
            if let Some(old) = self.router_names.remove(name) {
                view.routers.remove_mut(&old);
            }
            if router.gateway == self.gateway {
                let key = (router.addressed.clone(), router.port);
                self.router_names.insert(name.clone(), key.clone());
                view.routers.insert_mut(key, Arc::new(router));
            }
        }
        for name in &update.removed {
            if let Some(key) = self.router_names.remove(name) {
                view.routers.remove_mut(&key);
            }
        }
        view.synced.routers |= update.first;
    }
}

fn addresses(view: &mut View, update: &Update, reject: &mut impl FnMut(&str, &Refused)) {
    let mut changes = Vec::with_capacity(update.resources.len() + update.removed.len() + 1);
    for (name, body) in &update.resources {
        match decoded(body, Ok).and_then(address) {
            Ok(change) => changes.push(change),
            Err(refused) => reject(name, &refused),
        }
    }
    changes.extend(update.removed.iter().cloned().map(Change::RemoveAddress));
    if update.first {
        changes.push(Change::Synced(Synced {
            addresses: true,
            authorizations: false,
        }));
        view.synced.addresses = true;
    }
    view.mesh = view.mesh.apply(changes);
}

fn address(message: workload::Address) -> Result<Change, Refused> {
    use workload::address::Type;
    match message.r#type {
        Some(Type::Workload(w)) => convert::workload::from_proto(w).map(Change::Workload),
        Some(Type::Service(s)) => convert::service::from_proto(s).map(Change::Service),
        None => return Err(Refused::EmptyAddress),
    }
    .map_err(Refused::Convert)
}

fn clusters(view: &mut View, update: &Update, reject: &mut impl FnMut(&str, &Refused)) {
    for (name, body) in &update.resources {
        match decoded(body, convert::route::cluster) {
            Ok(cluster) => view
                .clusters
                .insert_mut(cluster.name.clone(), Arc::new(cluster)),
            Err(refused) => reject(name, &refused),
        }
    }
    for name in &update.removed {
        view.clusters.remove_mut(&ClusterName::from(name.as_str()));
    }
    view.synced.clusters |= update.first;
}

fn endpoints(view: &mut View, update: &Update, reject: &mut impl FnMut(&str, &Refused)) {
    for (name, body) in &update.resources {
        match decoded::<pb::Endpoints, _>(body, convert::route::endpoints) {
            Ok(members) => view
                .endpoints
                .insert_mut(members.cluster.clone(), Arc::new(members)),
            Err(refused) => reject(name, &refused),
        }
    }
    for name in &update.removed {
        view.endpoints.remove_mut(&ClusterName::from(name.as_str()));
    }
    view.synced.endpoints |= update.first;
}

fn decoded<M: Message + Default, T>(
    body: &Bytes,
    convert: impl FnOnce(M) -> Result<T, ConvertError>,
) -> Result<T, Refused> {
    let message = M::decode(body.clone()).map_err(Refused::Decode)?;
    convert(message).map_err(Refused::Convert)
}
