//! Writes to the API server. The index says what should be there; one task writes it while this
//! replica leads, several requests at a time, the newest wish for an object wins.
//! Owns: what should be there, by object. Must not: touch an object of the user's that has the name of
//! one we generate.

use super::{handover, key, status_of};
use crate::cluster::MANAGER;
use crate::metrics::Metrics;
use crate::times;
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use ambit_index::{Index, Plan, Write};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::{Address, Client, Outcome, RequestError, Writer, read};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// Requests at the same time.
const AT_ONCE: usize = 8;
/// Pauses after failures, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Generated objects are looked at this often when nothing else happens.
const AGAIN: Duration = Duration::from_secs(60);

/// What should be there: one entry per object, so its size is that of the mesh.
#[derive(Debug, Default)]
struct Wishes {
    /// Statuses have their times.
    wanted: BTreeMap<ObjectKey, Write>,
    due: BTreeSet<ObjectKey>,
}

/// Wishes and their bell, shared by the index task and the writing task.
#[derive(Debug, Default)]
struct Board {
    wishes: Mutex<Wishes>,
    bell: Notify,
}

impl Board {
    fn with<T>(&self, work: impl FnOnce(&mut Wishes) -> T) -> T {
        work(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The index task's side.
#[derive(Debug)]
pub(crate) struct ClusterWrites {
    board: Arc<Board>,
    leads: watch::Receiver<bool>,
}

impl ClusterWrites {
    /// Both sides.
    pub(crate) fn new(
        client: Client,
        leads: watch::Receiver<bool>,
        metrics: Metrics,
    ) -> (Self, Writes) {
        let board = Arc::<Board>::default();
        let task = Writes {
            board: board.clone(),
            leads: leads.clone(),
            writer: Writer::new(client.clone(), MANAGER),
            client,
            metrics,
        };
        (Self { board, leads }, task)
    }

    /// Takes a plan over.
    pub(super) fn plan(&self, plan: Plan, index: &Index) {
        let now = times::now();
        self.board.with(|wishes| {
            for key in &plan.untouched {
                // Not to be written again and again either.
                wishes.wanted.remove(key);
                wishes.due.remove(key);
            }
            for write in plan.writes {
                let key = key(&write).clone();
                let write = stamped(write, wishes.wanted.get(&key), index, &now);
                wishes.due.insert(key.clone());
                wishes.wanted.insert(key, write);
            }
        });
        self.board.bell.notify_one();
    }

    pub(super) async fn elected(&mut self) {
        loop {
            if self.leads.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if *self.leads.borrow_and_update() {
                return;
            }
        }
    }

    /// Everything is due that the objects do not say already.
    pub(super) fn renew(&self, index: &Index) {
        self.board.with(|wishes| {
            let differs = |(key, write): &(&ObjectKey, &Write)| match write {
                Write::Status { status, .. } => {
                    let now = index.object(key).and_then(status_of);
                    !now.is_some_and(|now| covers(&now, status))
                }
                Write::Object { .. } | Write::Remove { .. } => true,
            };
            let due = wishes.wanted.iter().filter(differs);
            wishes.due = due.map(|(key, _)| key.clone()).collect();
        });
        self.board.bell.notify_one();
    }
}

fn stamped(write: Write, before: Option<&Write>, index: &Index, now: &str) -> Write {
    let carried = |key| index.object(key).and_then(status_of);
    match write {
        Write::Status { key, status } => {
            let known = match before {
                Some(Write::Status { status, .. }) => Some(status.clone()),
                _ => carried(&key),
            };
            let status = times::stamped(&status, known.as_ref(), now);
            Write::Status { key, status }
        }
        Write::Object { key, mut value } => {
            if let Some(status) = value.get("status") {
                value["status"] = times::stamped(status, carried(&key).as_ref(), now);
            }
            Write::Object { key, value }
        }
        Write::Remove { .. } => write,
    }
}

/// Whether `now` says all that `wanted` says. Conditions are found by their type.
fn covers(now: &Value, wanted: &Value) -> bool {
    match (now, wanted) {
        (Value::Object(now), Value::Object(wanted)) => wanted.iter().all(|(name, value)| {
            let now = now.get(name);
            match (name.as_str(), now, value) {
                ("conditions", Some(Value::Array(now)), Value::Array(wanted)) => {
                    let same = |w: &Value| {
                        now.iter()
                            .any(|n| n.get("type") == w.get("type") && covers(n, w))
                    };
                    wanted.iter().all(same)
                }
                (_, Some(now), value) => covers(now, value),
                (_, None, _) => false,
            }
        }),
        (Value::Array(now), Value::Array(wanted)) => {
            now.len() == wanted.len() && now.iter().zip(wanted).all(|(n, w)| covers(n, w))
        }
        (now, wanted) => now == wanted,
    }
}

/// The writing task's side.
pub(crate) struct Writes {
    board: Arc<Board>,
    leads: watch::Receiver<bool>,
    writer: Writer,
    client: Client,
    metrics: Metrics,
}

impl Writes {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        let mut pause = FIRST_PAUSE;
        loop {
            let ready = async { self.leads.wait_for(|leads| *leads).await.is_ok() };
            tokio::select! {
                _ = drain.signalled() => return,
                leads = ready => if !leads { return },
            }
            let failed = self.round().await;
            if failed {
                tokio::select! {
                    _ = drain.signalled() => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            pause = FIRST_PAUSE;
            tokio::select! {
                _ = drain.signalled() => return,
                () = self.board.bell.notified() => {}
                () = sleep(AGAIN) => self.again(),
            }
        }
    }

    /// Generated objects are written again: not all of their kinds are watched for what others do.
    fn again(&self) {
        self.board.with(|wishes| {
            let objects = wishes.wanted.iter();
            let objects = objects.filter(|(_, write)| matches!(write, Write::Object { .. }));
            let keys: Vec<ObjectKey> = objects.map(|(key, _)| key.clone()).collect();
            wishes.due.extend(keys);
        });
    }

    /// Writes what is due; whether something failed.
    async fn round(&self) -> bool {
        let due: Vec<(ObjectKey, Write)> = self.board.with(|wishes| {
            let keys = std::mem::take(&mut wishes.due);
            let wish = |key: ObjectKey| Some((key.clone(), wishes.wanted.get(&key)?.clone()));
            keys.into_iter().filter_map(wish).collect()
        });
        let results = stream::iter(due).map(|(key, write)| async move {
            let leads = *self.leads.borrow();
            match leads {
                true => self.one(&key, &write).await.map(|()| (key, write)),
                false => Err(key),
            }
        });
        let mut failed = false;
        let mut results = results.buffer_unordered(AT_ONCE);
        while let Some(result) = results.next().await {
            match result {
                Ok((key, write)) => self.finish(&key, &write),
                Err(key) => {
                    failed = true;
                    self.board.with(|wishes| wishes.due.insert(key));
                }
            }
        }
        failed
    }

    /// What is removed needs no memory, unless it is wanted again.
    fn finish(&self, key: &ObjectKey, write: &Write) {
        if matches!(write, Write::Remove { .. }) {
            self.board.with(|wishes| {
                if wishes.wanted.get(key) == Some(write) {
                    wishes.wanted.remove(key);
                }
            });
        }
    }

    async fn one(&self, key: &ObjectKey, write: &Write) -> Result<(), ObjectKey> {
        let done = match write {
            Write::Status { status, .. } => self.writer.status(key, status).await.map(drop),
            Write::Object { value, .. } => self.object(key, value).await,
            Write::Remove { .. } => self.remove(key).await,
        };
        done.map_err(|error| {
            self.metrics.write_errors.inc();
            tracing::error!(object = %key, error = %causes(&error), "not written");
            key.clone()
        })
    }

    async fn object(&self, key: &ObjectKey, value: &Value) -> Result<(), RequestError> {
        if let Some(address) = address(key)
            && let Some(there) = read(&self.client, &address).await?
        {
            if !is_generated(&there) {
                tracing::warn!(object = %key, "the user's own object stands in for a generated one");
                return Ok(());
            }
            if self.is_scaled(key)
                && let Some(held) = handover::before(&there, value)
            {
                let holder = Writer::new(self.client.clone(), handover::HOLDER);
                holder.apply(&held).await?;
            }
        }
        let mut value = value.clone();
        let status = value.as_object_mut().and_then(|map| map.remove("status"));
        if self.writer.apply(&value).await? == Outcome::Done
            && let Some(status) = status
        {
            self.writer.status(key, &status).await?;
        }
        Ok(())
    }

    /// Whether an autoscaler decides the number of its pods.
    fn is_scaled(&self, key: &ObjectKey) -> bool {
        let kind = Kind::of("autoscaling", "HorizontalPodAutoscaler");
        let scaler = ObjectKey::new(kind, &key.namespace, &key.name);
        let is_wanted =
            |wishes: &mut Wishes| matches!(wishes.wanted.get(&scaler), Some(Write::Object { .. }));
        key.kind == Kind::of("apps", "Deployment") && self.board.with(is_wanted)
    }

    /// An object that we generated goes; of any other only our status does.
    async fn remove(&self, key: &ObjectKey) -> Result<(), RequestError> {
        let Some(address) = address(key) else {
            return self.writer.status(key, &Value::Null).await.map(drop);
        };
        match read(&self.client, &address).await? {
            None => Ok(()),
            Some(there) if is_generated(&there) => self.writer.delete(&address).await.map(drop),
            Some(_) if matches!(key.kind, Kind::Other(_) | Kind::ServiceAccount) => Ok(()),
            Some(_) => self.writer.status(key, &Value::Null).await.map(drop),
        }
    }
}

/// Where an object of a kind that we may generate is.
fn address(key: &ObjectKey) -> Option<Address> {
    let (api_version, kind, plural) = match (key.kind.group(), key.kind.as_str()) {
        ("", "Service") => ("v1", "Service", "services"),
        ("", "ServiceAccount") => ("v1", "ServiceAccount", "serviceaccounts"),
        ("apps", "Deployment") => ("apps/v1", "Deployment", "deployments"),
        ("autoscaling", kind @ "HorizontalPodAutoscaler") => {
            ("autoscaling/v2", kind, "horizontalpodautoscalers")
        }
        ("policy", kind @ "PodDisruptionBudget") => ("policy/v1", kind, "poddisruptionbudgets"),
        _ => return None,
    };
    let address = Address::new(api_version, kind, plural);
    Some(address.within(&key.namespace).named(&key.name))
}

fn is_generated(object: &Value) -> bool {
    let labels = object.get("metadata").and_then(|meta| meta.get("labels"));
    let managed = labels.and_then(|labels| labels.get(labels::MANAGED));
    matches!(
        managed.and_then(Value::as_str),
        Some(labels::MANAGED_WAYPOINT | MANAGED_GATEWAY)
    )
}

/// Value of [`labels::MANAGED`] on ingress gateways, as Istio's controller writes it.
const MANAGED_GATEWAY: &str = "istio.io-gateway-controller";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_due_only_when_the_object_does_not_say_it() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
        let now = json!({"loadBalancer": {}, "conditions": [condition("a", "True"), condition("b", "False")]});
        let wants = |conditions| json!({ "conditions": conditions });
        assert!(covers(&now, &wants(json!([condition("b", "False")]))));
        assert!(covers(&now, &wants(json!([]))));
        assert!(!covers(&now, &wants(json!([condition("b", "True")]))));
        assert!(!covers(&now, &wants(json!([condition("c", "True")]))));
        assert!(!covers(&now, &json!({"addresses": []})));
        assert!(!covers(&json!({"x": [1, 2]}), &json!({"x": [1]})));
    }
}
