//! From pins and journal back to records: what a former agent left is adopted, not redone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ambit_ebpf_loader::{Capture, MapAccessError, Role, Slot, SteerError};
use ambit_net::Netns;
use ambit_net::sysctl::SysctlRoot;
use ambit_runtime::readiness::Gate;
use tokio::sync::{mpsc, watch};

use super::Reconciler;
use crate::counters::Counters;
use crate::enroll::addresses::Addresses;
use crate::enroll::execute::Executor;
use crate::enroll::pod::{Pod, is_namespace};
use crate::events::{Event, QUEUE};
use crate::exempt::Exemption;
use crate::facts::Seen;
use crate::journal::{Entry, Journal, JournalError};
use crate::proxy::Sessions;
use crate::status::Announcer;
use crate::view::View;
use ambit_runtime::causes::causes;

/// What the reconcile task starts with.
#[derive(Debug)]
pub struct Startup {
    /// Open capture.
    pub capture: Arc<Capture>,
    /// Cookie of the node's own namespace.
    pub node_cookie: u64,
    /// Where pods' sysctls are written.
    pub sysctls: SysctlRoot,
    /// Writes the annotation.
    pub announcer: Announcer,
    /// The proxy's cgroup.
    pub exemption: Exemption,
    /// The journal.
    pub journal: Journal,
    /// State file of the CNI plugin.
    pub known_file: PathBuf,
    /// Namespaces that are never in the mesh.
    pub excluded: Vec<String>,
    /// Counts.
    pub counters: Counters,
    /// Opened when the source has told everything once.
    pub synced: Gate,
    /// Opened when every pod a former agent had captured has listeners again.
    pub recovered: Gate,
}

/// The task before it runs, and the ways to it.
#[derive(Debug)]
pub struct Started {
    /// To be run as a task.
    pub reconciler: Reconciler,
    /// Tells it what happens.
    pub events: mpsc::Sender<Event>,
    /// Shows what it has.
    pub view: watch::Receiver<Arc<View>>,
}

/// The former state cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error("cannot read the journal")]
    Journal(#[from] JournalError),
    /// A map.
    #[error("cannot read the capture maps")]
    Map(#[from] MapAccessError),
    /// Steer links.
    #[error("cannot list steer links")]
    Steer(#[from] SteerError),
}

impl Startup {
    /// Adopts what is there.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been removed from a living pod then.
    pub fn adopt(self) -> Result<Started, StartError> {
        let kernel = Kernel::read(&self.capture)?;
        let mut addresses = Addresses::read(&self.capture)?;
        let loaded = self.journal.load()?;
        for (slot, path, reason) in &loaded.damaged {
            tracing::error!(slot = slot.map(Slot::number), path = %path.display(), reason, "journal entry unreadable");
        }
        let mut pods = BTreeMap::new();
        for entry in loaded.entries {
            match reopen(entry) {
                Ok(pod) => {
                    let pod = kernel.adopt(pod);
                    pods.insert(pod.entry.slot, pod);
                }
                Err(entry) => {
                    tracing::info!(workload = %entry.uid, slot = entry.slot, "a pod went while the agent was away");
                    self.journal.remove(entry.slot)?;
                }
            }
        }
        let reserved = kernel.clean(&self.capture, &mut addresses, &pods)?;
        if let Err(error) = self.exemption.refresh(&self.capture) {
            // It is looked up again before a proxy gets anything.
            tracing::info!(error = %causes(&error), "no proxy to exempt yet");
        }
        let (sender, events) = mpsc::channel(QUEUE);
        let (view, shown) = watch::channel(Arc::default());
        let reconciler = Reconciler {
            executor: Executor::new(
                self.capture.clone(),
                addresses,
                self.sysctls,
                self.announcer,
            ),
            capture: self.capture,
            exemption: self.exemption,
            journal: self.journal,
            known_file: self.known_file,
            known: None,
            node_cookie: self.node_cookie,
            excluded: self.excluded,
            seen: Seen::default(),
            pods,
            reserved,
            unborn: Vec::new(),
            retired: false,
            sessions: Sessions::default(),
            arrivals: Vec::new(),
            counters: self.counters,
            sender: sender.clone(),
            events,
            view,
            synced: self.synced,
            recovered: Some(self.recovered),
        };
        Ok(Started {
            reconciler,
            events: sender,
            view: shown,
        })
    }
}

/// What the kernel has of a former agent.
struct Kernel {
    enrolled: BTreeMap<u64, Slot>,
    steered: BTreeSet<Slot>,
}

impl Kernel {
    fn read(capture: &Capture) -> Result<Self, StartError> {
        Ok(Self {
            steered: capture.steered()?.into_iter().collect(),
            enrolled: capture.enrolled()?.into_iter().collect(),
        })
    }

    fn adopt(&self, mut pod: Pod) -> Pod {
        let enrolled = self.enrolled.get(&pod.entry.cookie) == Some(&pod.slot);
        let steered = self.steered.contains(&pod.slot);
        let touched = enrolled || steered;
        pod.actual.enrolled = enrolled;
        pod.actual.steered = steered;
        pod.actual.routed = touched;
        pod.actual.slots = touched;
        pod.actual.unheld = touched;
        if touched {
            pod.actual.quiet = crate::enroll::plan::Quiet::Busy;
        }
        pod
    }

    /// Removes what belongs to no living pod. Gives the slots of pods that live without a record.
    fn clean(
        &self,
        capture: &Capture,
        addresses: &mut Addresses,
        pods: &BTreeMap<u32, Pod>,
    ) -> Result<BTreeSet<u32>, StartError> {
        let recorded = |slot: Slot| pods.contains_key(&slot.number());
        let orphans: BTreeSet<Slot> = self
            .steered
            .iter()
            .copied()
            .filter(|slot| !recorded(*slot))
            .collect();
        for (cookie, slot) in &self.enrolled {
            let ours = pods
                .get(&slot.number())
                .is_some_and(|pod| pod.entry.cookie == *cookie);
            if !ours && !orphans.contains(slot) {
                capture.unenroll(*cookie)?;
            }
        }
        for slot in addresses.slots() {
            if !recorded(slot) && !orphans.contains(&slot) {
                addresses.set(capture, slot, &BTreeSet::new())?;
                for role in Role::ALL {
                    capture.clear_listener(slot, role)?;
                }
            }
        }
        for slot in &orphans {
            tracing::error!(
                slot = slot.number(),
                "a captured pod has no journal entry; it stays captured"
            );
        }
        Ok(orphans.into_iter().map(Slot::number).collect())
    }
}

/// A record for an entry whose namespace is still the same one.
fn reopen(entry: Entry) -> Result<Pod, Box<Entry>> {
    let Ok(netns) = Netns::open(&entry.netns) else {
        return Err(Box::new(entry));
    };
    let inode = netns.inode();
    let same = (inode.dev, inode.ino) == entry.inode
        && is_namespace(&entry.netns, inode)
        && netns.cookie().is_ok_and(|cookie| cookie == entry.cookie);
    match Slot::new(entry.slot) {
        Some(slot) if same => Ok(Pod::new(entry, slot, Arc::new(netns))),
        _ => Err(Box::new(entry)),
    }
}
