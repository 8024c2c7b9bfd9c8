//! Whether a workload has come to be what it should be.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};

use super::{Cluster, name_of};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// A Deployment or DaemonSet of ours.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// As it was applied
    pub(crate) object: Value,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Pods that are ready, of the newest kind
    pub(crate) ready: u64,
    /// Pods there should be
    pub(crate) wanted: u64,
    /// Nothing is left to wait for
    pub(crate) done: bool,
}

impl Workload {
    /// Every workload of a list of objects.
    pub(crate) fn all(objects: &[Value]) -> impl Iterator<Item = Self> {
        let is = |object: &&Value| {
            ["Deployment", "DaemonSet"].contains(&object["kind"].as_str().unwrap_or_default())
        };
        objects.iter().filter(is).map(|object| Self {
            object: object.clone(),
        })
    }

    /// `metadata.name`.
    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub(crate) fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
    }

    /// `metadata.namespace`, selector of its pods.
    pub(crate) fn selector(&self) -> String {
        let labels = self
            .object
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let pairs = labels.into_iter().flatten();
        pairs
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// Reads a live Deployment or DaemonSet. Pure.
pub(crate) fn progress(live: &Value) -> Progress {
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let deployment = live["kind"] == "Deployment";
    let (wanted, updated, ready) = if deployment {
        let wanted = live
            .pointer("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        (
            wanted,
            number("/status/updatedReplicas"),
            number("/status/availableReplicas"),
        )
    } else {
        (
            number("/status/desiredNumberScheduled"),
            number("/status/updatedNumberScheduled"),
            number("/status/numberAvailable"),
        )
    };
    let old_ones = deployment && number("/status/replicas") > updated;
    Progress {
        ready: ready.min(updated),
        wanted,
        done: seen && updated >= wanted && ready >= wanted && !old_ones,
    }
}

impl Cluster {
    /// The helm release that one of these workloads belongs to.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn helm_release(
        &self,
        workloads: impl Iterator<Item = Workload>,
    ) -> Result<Option<String>> {
        for workload in workloads {
            let live = self.live(&workload.object).await?.unwrap_or_default();
            let release = &live["metadata"]["annotations"]["meta.helm.sh/release-name"];
            if let Some(name) = release.as_str() {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    /// Waits until a workload is what it should be, telling `tell` whenever something changed.
    ///
    /// # Errors
    /// The reason, when `patience` is over.
    pub(crate) async fn wait_ready(
        &self,
        workload: &Workload,
        patience: Duration,
        mut tell: impl FnMut(&Progress, &str),
    ) -> Result<()> {
        let start = Instant::now();
        let mut last = None;
        loop {
            let live = self
                .live(&workload.object)
                .await?
                .context("it was deleted meanwhile")?;
            let now = progress(&live);
            if now.done {
                tell(&now, "");
                return Ok(());
            }
            let over = start.elapsed() >= patience;
            let reason = self.reason(workload).await?;
            if over {
                bail!(
                    "{}/{} ready after {} s: {reason}",
                    now.ready,
                    now.wanted,
                    patience.as_secs()
                );
            }
            if last.as_ref() != Some(&(now.clone(), reason.clone())) {
                tell(&now, &reason);
                last = Some((now, reason));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until no pod of a selector is left.
    ///
    /// # Errors
    /// The names of those that are, when `patience` is over.
    pub(crate) async fn wait_gone(
        &self,
        namespace: &str,
        selector: &str,
        patience: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            let left = self.list("v1", "Pod", Some(namespace), selector).await?;
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= patience {
                let names: Vec<_> = left
                    .iter()
                    .filter_map(|pod| pod["metadata"]["name"].as_str())
                    .collect();
                bail!(
                    "still there after {} s: {}",
                    patience.as_secs(),
                    names.join(", ")
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until none of these objects is there.
    ///
    /// # Errors
    /// The first that is, when `patience` is over.
    pub(crate) async fn wait_absent(&self, objects: &[Value], patience: Duration) -> Result<()> {
        let start = Instant::now();
        for object in objects {
            while self.live(object).await?.is_some() {
                if start.elapsed() >= patience {
                    let seconds = patience.as_secs();
                    bail!("{} is still there after {seconds} s", name_of(object));
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Waits until the server serves every kind of a list of definitions.
    ///
    /// # Errors
    /// Those it does not, when `patience` is over.
    pub(crate) async fn wait_established(
        &self,
        definitions: &[Value],
        patience: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            let mut missing = Vec::new();
            for definition in definitions {
                let live = self.live(definition).await?;
                if !live.as_ref().is_some_and(established) {
                    missing.push(definition["metadata"]["name"].as_str().unwrap_or_default());
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= patience {
                bail!(
                    "not served after {} s: {}",
                    patience.as_secs(),
                    missing.join(", ")
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Whether a CustomResourceDefinition is served.
pub(crate) fn established(definition: &Value) -> bool {
    let conditions = definition
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_daemon_set_is_done_when_every_pod_is_new_and_available() {
        let with = |seen: u64, updated: u64, available: u64| {
            progress(&json!({
                "kind": "DaemonSet",
                "metadata": {"generation": 2},
                "status": {
                    "observedGeneration": seen,
                    "desiredNumberScheduled": 2,
                    "updatedNumberScheduled": updated,
                    "numberAvailable": available,
                },
            }))
        };
        assert!(with(2, 2, 2).done);
        assert!(!with(1, 2, 2).done, "the status is of an older generation");
        assert!(!with(2, 1, 2).done, "an old pod is left");
        assert_eq!(
            with(2, 2, 1),
            Progress {
                ready: 1,
                wanted: 2,
                done: false
            }
        );
    }

    #[test]
    fn a_deployment_is_done_when_the_old_pods_are_gone() {
        let with = |replicas: u64| {
            progress(&json!({
                "kind": "Deployment",
                "metadata": {"generation": 1},
                "spec": {"replicas": 1},
                "status": {
                    "observedGeneration": 1,
                    "replicas": replicas,
                    "updatedReplicas": 1,
                    "availableReplicas": 1,
                },
            }))
        };
        assert!(with(1).done);
        assert!(!with(2).done);
        assert!(!progress(&json!({"kind": "Deployment", "metadata": {"generation": 1}})).done);
    }
}
