//! What the reconcile task shows of itself, for the debug page and the gauges.
//! In and out: plain data. Owns nothing.

use serde::Serialize;

/// Everything at one moment.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether the source has told everything once.
    pub source_complete: bool,
    /// Connected proxies.
    pub proxies: usize,
    /// Slots kept for pods whose journal entry is lost.
    pub reserved_slots: usize,
    /// Pods by slot.
    pub pods: Vec<PodView>,
}

/// One pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Uid.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Slot number.
    pub slot: u32,
    /// Path of its network namespace.
    pub netns: String,
    /// `SO_NETNS_COOKIE`, as text because it exceeds what JSON numbers hold exactly.
    pub cookie: String,
    /// Addresses captured traffic is told apart by.
    pub ips: Vec<String>,
    /// `plain`, `pending`, `enrolled` or `leaving`.
    pub state: &'static str,
    /// Why it is outside, if it is.
    pub reason: Option<&'static str>,
    /// Listeners per role the agent holds.
    pub workers: Option<u32>,
    /// Whether a connected proxy accepts its connections.
    pub served: bool,
    /// Connections from before the pod was captured that still live outside the mesh; absent if the pod is
    /// not captured, or was by an agent before this one.
    pub preexisting_connections: Option<usize>,
    /// The last failure, while it lasts.
    pub error: Option<String>,
}
