//! The end of the mesh on this node.
//! In: the agent's DaemonSet at the end of the agent, or a command by hand. Out: a node as before the mesh.
//! Owns nothing. Must not happen here: a removal because an agent is only replaced, or because the API
//! server cannot be asked; a plugin in the chain that nobody will answer.

mod fit;
pub mod place;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ambit_ebpf_loader::{Capture, CaptureConfig, OpenError, RemoveError};
use ambit_net::Netns;
use ambit_net::netns::OpenNetnsError;
use ambit_runtime::causes::causes;
use ambit_source::kubernetes::Client;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::config::NodePaths;
use crate::enroll::pod::is_namespace;
use crate::enroll::routing;
use crate::events::{Event, Facts};
use crate::install::files::{Files, FilesError};
use crate::journal::{Entry, Journal, JournalError};
use crate::view::View;
use place::Place;

/// Why a node is not as before.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// An agent runs, which would install everything again.
    #[error("an agent runs on this node: delete its DaemonSet, and it removes everything itself")]
    Running,
    /// The plugin.
    #[error("the plugin cannot be taken out of the chain")]
    Files(#[from] FilesError),
    /// The node's namespace.
    #[error("the node's network namespace cannot be used")]
    NodeNetns(#[from] OpenNetnsError),
    /// Its cookie.
    #[error("the node's network namespace has no cookie")]
    NodeCookie(#[source] io::Error),
    /// The journal.
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
    /// Programs and maps.
    #[error("capture cannot be opened")]
    Capture(#[from] OpenError),
    /// Their pins.
    #[error("capture cannot be removed")]
    Remove(#[from] RemoveError),
}

/// What the API server says about the agent's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// Another agent follows, or nobody knows.
    Stays,
    /// The DaemonSet is gone or going, or the agent's rights are, or it wants no pod on this node.
    Goes,
    /// The agent's token counts no more: its account is gone, or only its pod, by force.
    Unknown,
}

/// Whether the agent goes for good: its DaemonSet is gone, or wants no pod on this node any more. While the API server cannot be asked it does not. `own_pod` tells
/// whether the source still has the agent's own pod: one that is deleted by force is gone from there before
/// its processes are, and is replaced; that must not open the mesh.
pub async fn is_final(
    client: &Client,
    daemon_set: (&str, &str),
    node: &str,
    own_pod: impl Fn() -> bool,
) -> bool {
    match judge(place::ask(client, daemon_set, node).await) {
        Prospect::Stays => false,
        Prospect::Goes => true,
        Prospect::Unknown => outlives(own_pod).await,
    }
}

/// Whether the own pod is there and stays there for a while: news of its end may be on the way.
async fn outlives(own_pod: impl Fn() -> bool) -> bool {
    let end = Instant::now() + NEWS;
    while own_pod() {
        if Instant::now() > end {
            return true;
        }
        sleep(LOOK).await;
    }
    tracing::warn!("the agent's pod is gone, but not its DaemonSet, for all that is known");
    false
}

fn judge(place: Place) -> Prospect {
    match place {
        Place::Wanted => Prospect::Stays,
        Place::Unwanted | Place::Gone => Prospect::Goes,
        // An uninstallation may take the rights away before the pods, and the account.
        Place::Unknown(Some(error)) if error.is_denied() || error.is_missing() => Prospect::Goes,
        Place::Unknown(Some(error)) if error.is_unknown_caller() => Prospect::Unknown,
        Place::Unknown(error) => {
            let error = error.as_ref().map(|error| causes(error).to_string());
            tracing::warn!(error, "cannot ask whether the agent's DaemonSet is gone");
            Prospect::Stays
        }
    }
}

/// Takes the plugin out of the chain.
///
/// # Errors
/// [`FilesError`].
pub fn unchain(files: &Files) -> Result<(), FilesError> {
    let report = files.remove()?;
    for path in &report.changed {
        tracing::info!(path = %path.display(), "cni file restored or removed");
    }
    for (path, reason) in &report.skipped {
        tracing::warn!(path = %path.display(), reason, "network configuration left alone");
    }
    Ok(())
}

/// Lets every pod leave the mesh as if it had opted out, and waits for it at most as long as a pod's
/// connections may be waited for at the end of an agent.
pub async fn dismiss(
    events: &mpsc::Sender<Event>,
    mut view: watch::Receiver<Arc<View>>,
    everyone_out: Facts,
) {
    if events.send(Event::Facts(everyone_out)).await.is_err() {
        return;
    }
    let all_plain = view.wait_for(|view| view.pods.iter().all(|pod| pod.state == "plain"));
    if timeout(DISMISSAL, all_plain).await.is_err() {
        tracing::warn!("some pods still had connections through the mesh, which are cut");
    }
}

/// Removes what is left of capture, and the agent's files.
///
/// # Errors
/// [`LeaveError`]; what could be removed is.
pub async fn tear_down(node: &NodePaths) -> Result<(), LeaveError> {
    let journal = Journal::open(&node.run_dir)?;
    let capture = Capture::open(CaptureConfig {
        pin_root: node.pin_root.clone(),
        cgroup_root: node.cgroup_root.clone(),
        node_netns_cookie: Netns::open(&node.node_netns)?
            .cookie()
            .map_err(LeaveError::NodeCookie)?,
        kubepods: None,
    })?;
    capture.remove_all()?;
    for entry in journal.load()?.entries {
        release(&entry).await;
        journal.remove(entry.slot)?;
    }
    journal.end()?;
    for path in [node.state_file(), node.cni_socket.clone()] {
        remove(&path);
    }
    tracing::info!("capture removed; pods use plain networking");
    Ok(())
}

/// Does everything for a node whose agent is gone.
///
/// # Errors
/// [`LeaveError`].
pub async fn by_hand(node: &NodePaths) -> Result<(), LeaveError> {
    if UnixStream::connect(&node.cni_socket).await.is_ok() {
        return Err(LeaveError::Running);
    }
    unchain(&node.files())?;
    tear_down(node).await
}

/// Rules and routes; the rest of a pod's capture is gone already.
async fn release(entry: &Entry) {
    let Ok(netns) = Netns::open(&entry.netns) else {
        return;
    };
    let inode = netns.inode();
    if (inode.dev, inode.ino) != entry.inode || !is_namespace(&entry.netns, inode) {
        return;
    }
    let undone = match routing::has_rules(&netns).await {
        Ok(false) => Ok(()),
        Ok(true) => routing::unroute(&netns).await,
        Err(error) => Err(error),
    };
    if let Err(error) = undone {
        tracing::warn!(workload = %entry.uid, error = %causes(&error), "rules stay in a pod");
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "file not removed");
        }
        _ => {}
    }
}

/// News of the own pod's end come with the news that make the kubelet end it.
const NEWS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// Of the thirty seconds a pod has by default to end.
const DISMISSAL: Duration = Duration::from_secs(18);

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_source::kubernetes::RequestError;

    #[test]
    fn only_a_daemon_set_that_is_gone_or_going_or_leaves_the_node_is_the_end() {
        for (place, prospect) in [
            (Place::Gone, Prospect::Goes),
            (Place::Unwanted, Prospect::Goes),
            (Place::Wanted, Prospect::Stays),
            (Place::Unknown(None), Prospect::Stays),
            (
                Place::Unknown(Some(RequestError::Nameless)),
                Prospect::Stays,
            ),
        ] {
            let text = format!("{place:?}");
            assert_eq!(judge(place), prospect, "{text}");
        }
    }

    #[tokio::test]
    async fn a_pod_deleted_by_force_is_no_uninstallation_even_if_its_end_is_told_late() {
        assert!(outlives(|| true).await, "only the account is gone");
        assert!(!outlives(|| false).await);
        let start = Instant::now();
        let told = || start.elapsed() < Duration::from_secs(1);
        assert!(!outlives(told).await);
    }
}
