//! Inputs of a decision: the pod's own workload and the snapshot to decide by.
//! In: what the agent calls the pod. Out: its workload in the mesh, held for at most 5 s until the
//! configuration is there. Never looked up by address: addresses are reused.

use crate::pod::{Pod, PodIdentity};
use crate::state::State;
use ambit_model::Snapshot;
use ambit_model::workload::Workload;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A pod's own workload and the snapshot it was found in.
#[derive(Clone, Debug)]
pub struct Own {
    /// Decide by this one.
    pub snapshot: Arc<Snapshot>,
    /// The pod.
    pub workload: Arc<Workload>,
}

/// What was missing when the time was up.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotReady {
    /// The controller has not sent everything yet.
    #[error("configuration has not arrived from the controller")]
    NotSynced,
    /// It has, and the pod is not in it.
    #[error("failed to fetch information about local workload {}/{} ({})", .0.namespace, .0.name, .0.service_account)]
    UnknownWorkload(PodIdentity),
}

/// How long a connection waits for configuration.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The pod's own workload, waiting at most [`PATIENCE`] for it.
///
/// # Errors
/// See [`NotReady`].
pub async fn own_workload(state: &State, pod: &Pod) -> Result<Own, NotReady> {
    if let Ok(own) = find(state, pod) {
        return Ok(own);
    }
    let mut changes = state.changes();
    let found = async {
        loop {
            changes.mark_unchanged();
            if let Ok(own) = find(state, pod) {
                return Some(own);
            }
            changes.changed().await.ok()?;
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Some(own)) => Ok(own),
        Ok(None) | Err(_) => find(state, pod),
    }
}

/// The pod's own workload, if it is known now.
///
/// # Errors
/// See [`NotReady`].
pub fn find(state: &State, pod: &Pod) -> Result<Own, NotReady> {
    let snapshot = state.load();
    if !snapshot.synced().complete() {
        return Err(NotReady::NotSynced);
    }
    let wanted = &pod.identity;
    let workload = snapshot
        .workload_named(&wanted.namespace, &wanted.name)
        .filter(|w| w.identity.service_account() == &*wanted.service_account)
        .cloned();
    match workload {
        Some(workload) => Ok(Own { snapshot, workload }),
        None => Err(NotReady::UnknownWorkload(wanted.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{pod, snapshot};
    use crate::pod::Capture;
    use ambit_net::Netns;

    fn captured(service_account: &str) -> Pod {
        let identity = PodIdentity {
            name: "client".into(),
            namespace: "shop".into(),
            service_account: service_account.into(),
        };
        Pod::new(
            "u".into(),
            identity,
            Netns::current().unwrap(),
            (Capture::Steered, 0x539),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn waits_until_the_configuration_is_there() {
        let state = State::new(Snapshot::default());
        let known = captured("client");
        let (own, ()) = tokio::join!(own_workload(&state, &known), async {
            state.store(snapshot(vec![pod("shop", "client", "10.1.0.1", |_| {})]));
        });
        assert_eq!(&*own.unwrap().workload.name, "client");
    }

    #[tokio::test(start_paused = true)]
    async fn names_what_is_missing_after_five_seconds() {
        let state = State::new(Snapshot::default());
        let known = captured("client");
        assert_eq!(
            own_workload(&state, &known).await.unwrap_err(),
            NotReady::NotSynced
        );
        state.store(snapshot(vec![pod("shop", "client", "10.1.0.1", |_| {})]));
        let other = captured("somebody-else");
        let error = own_workload(&state, &other).await.unwrap_err();
        assert!(
            error.to_string().contains("shop/client (somebody-else)"),
            "{error}"
        );
    }
}
