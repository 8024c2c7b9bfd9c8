//! The record of one pod the CNI plugin announced.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ambit_cni::wire::Refusal;
use ambit_ebpf_loader::{PodOptions, Slot};
use ambit_net::Netns;
use ambit_net::netns::NsInode;
use ambit_runtime::tasks::Task;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::older::Older;
use super::plan::{Actual, Membership};
use super::quiet::Drain;
use crate::intent::Intent;
use crate::journal::Entry;
use crate::listeners::Listeners;
use crate::proxy::{PodIdentity, Subject};

/// One pod with a sandbox on this node, enrolled or not.
#[derive(Debug)]
pub struct Pod {
    /// What the journal says.
    pub entry: Entry,
    /// Its number in the kernel's maps.
    pub slot: Slot,
    /// Its network namespace, kept alive by this handle.
    pub netns: Arc<Netns>,
    /// What has been done for it.
    pub actual: Actual,
    /// What it should be; `None` until the source has told.
    pub intent: Option<Intent>,
    /// Interfaces in it that bring traffic of its own; of no meaning without an intent.
    pub virtual_interfaces: BTreeSet<String>,
    /// Its sandbox is gone.
    pub gone: bool,
    /// The agent's copies of its listeners.
    pub listeners: Option<Arc<Listeners>>,
    /// Number of the last question to a proxy about it.
    pub ticket: u64,
    /// Parts of an answer that comes in several messages.
    pub returned: Option<Listeners>,
    /// Its addresses as the kernel maps have them.
    pub addresses: BTreeSet<IpAddr>,
    /// The wait for quiet while it leaves.
    pub drain: Option<Drain>,
    /// Its connections from before it was captured; `None` if a former agent captured it, or nobody has.
    pub older: Option<Older>,
    /// When to try again after a failure.
    pub retry: Option<Retry>,
    /// Why the last step failed.
    pub error: Option<String>,
    /// The plugin that waits for the enrolment.
    pub waiting: Option<Waiting>,
    /// Follows its addresses.
    pub follower: Option<Task<()>>,
}

/// A failed step that will be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// When.
    pub at: Instant,
    /// How long was waited.
    pub delay: Duration,
}

/// A CNI ADD that has not been answered.
#[derive(Debug)]
pub struct Waiting {
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<(), Refusal>>,
    /// When it is refused.
    pub deadline: Instant,
}

impl Pod {
    /// A pod for which nothing has been done.
    pub fn new(entry: Entry, slot: Slot, netns: Arc<Netns>) -> Self {
        Self {
            entry,
            slot,
            netns,
            actual: Actual::PLAIN,
            intent: None,
            virtual_interfaces: BTreeSet::new(),
            gone: false,
            listeners: None,
            ticket: 0,
            returned: None,
            addresses: BTreeSet::new(),
            drain: None,
            older: None,
            retry: None,
            error: None,
            waiting: None,
            follower: None,
        }
    }

    /// Where it should be.
    pub fn membership(&self) -> Membership {
        match self.intent {
            _ if self.gone => Membership::Gone,
            Some(Intent::Enroll(_)) => Membership::In,
            Some(Intent::StayOut(_)) => Membership::Out,
            None => Membership::Unknown,
        }
    }

    /// What it switches off.
    pub fn options(&self) -> PodOptions {
        match self.intent {
            Some(Intent::Enroll(options)) => options,
            _ => PodOptions::default(),
        }
    }

    /// The pod as proxies know it, with a ticket that only the answer to this question has.
    pub fn next_question(&mut self) -> Subject {
        self.ticket += 1;
        Subject {
            identity: Arc::new(PodIdentity {
                uid: self.entry.uid.as_str().into(),
                namespace: self.entry.namespace.clone(),
                name: self.entry.name.clone(),
                service_account: self.entry.service_account.clone(),
            }),
            netns: self.netns.clone(),
            ticket: self.ticket,
        }
    }

    /// Whether the runtime has removed the namespace: its path is gone or is another's by now.
    pub fn sandbox_is_gone(&self) -> bool {
        !is_namespace(&self.entry.netns, self.netns.inode())
    }

    /// Notes a failure; the next try comes later each time, at most every five seconds.
    pub fn failed(&mut self, error: String) {
        let delay = self
            .retry
            .map_or(FIRST_RETRY, |retry| (retry.delay * 2).min(LONGEST_RETRY));
        self.retry = Some(Retry {
            at: Instant::now() + delay,
            delay,
        });
        self.error = Some(error);
    }
}

/// Whether the file at `path` is this namespace.
pub fn is_namespace(path: &Path, inode: NsInode) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (inode.dev, inode.ino))
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
