//! Pod statuses of one node.
//! In: what a worker knows of its pod. Out: a status patch beside the directory, and the registry that
//! the lab itself reads.
//! Owns: the patches of writer `node-<n>`.
//! Spec: `core/v1` PodStatus.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ambit_crds::{Kind, ObjectKey};
use ambit_source::Writer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::warn;

use crate::cluster::{Key, PodView};
use crate::families::Families;
use crate::launch::Place;
use crate::names::NodeNumber;

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No container runs
    #[default]
    Pending,
    /// A container runs
    Running,
}

/// What the kubelet knows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Phase
    pub phase: Phase,
    /// `status.podIPs`, the primary one first; empty before the sandbox is there
    pub addresses: Vec<IpAddr>,
    /// The `Ready` condition
    pub ready: bool,
    /// Processes of its containers
    pub pids: Vec<i32>,
    /// Times its containers were started again
    pub restarts: u32,
    /// Why it is not running or not ready
    pub message: String,
}

/// A pod as the lab finds it.
#[derive(Clone, Debug, Default)]
pub struct PodEntry {
    /// Where its processes run; empty until there is a sandbox
    pub place: Place,
    /// Its token
    pub token: PathBuf,
    /// Its node
    pub node: String,
    /// State
    pub state: PodState,
}

/// Every pod that a kubelet of the lab runs.
pub type Pods = watch::Sender<BTreeMap<Key, PodEntry>>;

/// Writes the statuses of one node.
pub struct Statuses {
    node: (NodeNumber, Families),
    writer: Writer,
    pods: Arc<Pods>,
}

impl Statuses {
    /// Statuses of `node`, entries in `pods`.
    pub fn new(node: (NodeNumber, Families), writer: Writer, pods: Arc<Pods>) -> Self {
        Self { node, writer, pods }
    }

    /// Notes where the pod's processes run.
    pub fn placed(&self, pod: PodView<'_>, place: &Place, token: &Path) {
        self.pods.send_modify(|pods| {
            let entry = pods.entry(key(pod)).or_default();
            entry.place = place.clone();
            token.clone_into(&mut entry.token);
        });
    }

    /// Publishes the pod's state.
    pub fn write(&self, pod: PodView<'_>, state: &PodState) {
        let node = self.node.0.name();
        self.pods.send_if_modified(|pods| {
            let entry = pods.entry(key(pod)).or_default();
            let changed = entry.state != *state || entry.node != node;
            entry.state = state.clone();
            entry.node.clone_from(&node);
            changed
        });
        if let Err(error) = self
            .writer
            .patch(&object(pod), &json!({"status": patch(self.node, state)}))
        {
            warn!(
                error = &error as &dyn std::error::Error,
                "pod status not written"
            );
        }
    }

    /// Withdraws it.
    pub fn remove(&self, pod: PodView<'_>) {
        self.pods.send_modify(|pods| {
            pods.remove(&key(pod));
        });
        if let Err(error) = self.writer.remove(&object(pod)) {
            warn!(
                error = &error as &dyn std::error::Error,
                "pod status not removed"
            );
        }
    }
}

fn object(pod: PodView<'_>) -> ObjectKey {
    ObjectKey::new(Kind::Pod, pod.namespace(), pod.name())
}

fn key(pod: PodView<'_>) -> Key {
    (pod.namespace().to_owned(), pod.name().to_owned())
}

fn patch((node, families): (NodeNumber, Families), state: &PodState) -> Value {
    let truth = |yes: bool| if yes { "True" } else { "False" };
    let started = state.phase == Phase::Running;
    let hosts = families.node(node);
    let listed = |ips: &[IpAddr]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Value>();
    let mut status = json!({
        "phase": if started { "Running" } else { "Pending" },
        "hostIP": hosts.first(),
        "hostIPs": listed(&hosts),
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", "status": truth(state.ready)},
            {"type": "Ready", "status": truth(state.ready)},
        ],
    });
    if let Some(primary) = state.addresses.first() {
        status["podIP"] = primary.to_string().into();
        status["podIPs"] = listed(&state.addresses);
    }
    if !state.message.is_empty() {
        status["message"] = state.message.clone().into();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_an_address_is_not_ready_before_it_says_so() {
        let state = PodState {
            addresses: Families::Dual.pod(NodeNumber::new(1), 2),
            ..PodState::default()
        };
        let status = patch((NodeNumber::new(1), Families::Dual), &state);
        assert_eq!(status["podIP"], "10.244.1.2");
        assert_eq!(status["podIPs"][0]["ip"], "10.244.1.2");
        assert_eq!(status["podIPs"][1]["ip"], "fd00:10:244:1::2");
        assert_eq!(status["hostIPs"][1]["ip"], "fd00:10:244::1");
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["conditions"][3]["status"], "False");
    }
}
