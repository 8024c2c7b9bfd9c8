//! The table of identities and the one loop that asks the authority.
//! In: joins, leaves, published roots and time. Out: requests, and changes of the watched states.

use super::published::Published;
use super::{CertState, Priority, SecretSnapshot, Shared, StoreConfig};
use crate::authority::{Authority, CaError, obtain};
use crate::revocation::Revocations;
use crate::rotate;
use crate::svid::Svid;
use ambit_model::ids::SpiffeId;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<SpiffeId, Entry>,
    /// Tells an identity that was forgotten and came back from the one a late reply is for.
    generations: u64,
    /// What the authority publishes, once it was known.
    published: Option<Published>,
    /// How often another root came first, or a certificate of ours was of none.
    authorities: u64,
    revoked: watch::Sender<Arc<Revocations>>,
    /// What they were read from, good or bad.
    revoked_pem: String,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    state: watch::Sender<CertState>,
    users: usize,
    priority: Priority,
    /// When the next request is due; `None` while one runs.
    due: Option<Instant>,
    /// When the certificate ends.
    expires: Option<Instant>,
    failures: u32,
    /// How often in a row a certificate came that is not of the root that is published first.
    behind: u32,
}

/// A request to be made.
struct Fetch {
    id: SpiffeId,
    generation: u64,
    /// [`Table::authorities`] when it was made.
    authorities: u64,
}

impl Table {
    /// Adds a user.
    pub(super) fn join(&mut self, id: &SpiffeId, priority: Priority) -> watch::Receiver<CertState> {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.users += 1;
            entry.priority = entry.priority.min(priority);
            return entry.state.subscribe();
        }
        self.generations += 1;
        let (state, receiver) = watch::channel(CertState::default());
        let entry = Entry {
            generation: self.generations,
            state,
            users: 1,
            priority,
            due: Some(Instant::now()),
            expires: None,
            failures: 0,
            behind: 0,
        };
        self.entries.insert(id.clone(), entry);
        receiver
    }

    /// Removes a user, and the entry with the last one.
    pub(super) fn leave(&mut self, id: &SpiffeId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.users -= 1;
            if entry.users == 0 {
                self.entries.remove(id);
            }
        }
    }

    /// Somebody waits: true if the order of requests changed.
    pub(super) fn hurry(&mut self, id: &SpiffeId) -> bool {
        match self.entries.get_mut(id) {
            Some(entry) if entry.priority > Priority::OnDemand => {
                entry.priority = Priority::OnDemand;
                true
            }
            _ => false,
        }
    }

    pub(super) fn snapshot(&self) -> Vec<SecretSnapshot> {
        self.entries
            .iter()
            .map(|(identity, entry)| SecretSnapshot {
                identity: identity.clone(),
                state: entry.state.borrow().clone(),
                users: entry.users,
            })
            .collect()
    }

    /// The most urgent request that is due, marked as running.
    fn start_next(&mut self, now: Instant) -> Option<Fetch> {
        let (id, entry) = self
            .entries
            .iter_mut()
            .filter(|(_, e)| e.due.is_some_and(|due| due <= now))
            .min_by_key(|(_, e)| (e.priority, e.due))?;
        entry.due = None;
        Some(Fetch {
            id: id.clone(),
            generation: entry.generation,
            authorities: self.authorities,
        })
    }

    /// The next moment at which something is due or expires.
    fn next_event(&self) -> Option<Instant> {
        self.entries
            .values()
            .flat_map(|e| [e.due, e.expires])
            .flatten()
            .min()
    }

    /// The next expiry alone: what is left to wait for while no request may start.
    fn next_expiry(&self) -> Option<Instant> {
        self.entries.values().filter_map(|e| e.expires).min()
    }

    /// Withdraws certificates whose time is over.
    fn expire(&mut self, now: Instant) {
        for (id, entry) in &mut self.entries {
            if entry.expires.is_some_and(|at| at <= now) {
                entry.expires = None;
                entry.priority = Priority::OnDemand;
                warn!(identity = %id, "certificate expired before it could be renewed");
                entry.state.send_modify(|state| state.svid = None);
            }
        }
    }

    /// Takes over what the authority publishes. Certificates in use get the roots for the next handshakes.
    /// When another root comes first, or one of ours is of none of them, certificates are renewed now: the
    /// old ones are valid, but not for all peers, or not for long.
    fn trust(&mut self, pem: String, now: Instant) {
        let known = self.published.as_ref();
        if known.is_some_and(|known| known.pem() == pem) {
            return;
        }
        let next = Published::read(pem);
        if let Some(error) = next.error() {
            warn!(error = %Chain(error), "published roots cannot be used, the last ones stay");
            // Remembered, so that it is said once; what it said before still counts.
            self.published = Some(next.after(self.published.take()));
            return;
        }
        let leads_anew = known.is_some_and(|known| known.leads_otherwise(&next));
        let mut renew = leads_anew;
        for entry in self.entries.values_mut() {
            let Some(svid) = entry.state.borrow().svid.clone() else {
                continue;
            };
            if let Some(trusting) = next.replacing(&svid) {
                let svid = Arc::new(svid.trusting(trusting));
                entry.state.send_modify(|state| state.svid = Some(svid));
            }
            renew |= known.is_some() && !next.knows(&svid);
        }
        if known.is_some() {
            info!(
                roots = next.len(),
                renew,
                identities = self.entries.len(),
                "published roots changed"
            );
        }
        self.published = Some(next);
        if renew {
            self.authorities += 1;
            for entry in self.entries.values_mut() {
                entry.behind = 0;
                if let Some(due) = &mut entry.due {
                    *due = now;
                }
            }
        }
    }

    /// The certificates of peers that are revoked, watched.
    pub(super) fn revocations(&self) -> watch::Receiver<Arc<Revocations>> {
        self.revoked.subscribe()
    }

    /// Takes over the lists that the authority publishes, if they are others and good: for the next handshakes
    /// of every identity.
    fn revoke(&mut self, pem: String, refused: &Arc<AtomicU64>, now: Instant) {
        if pem == self.revoked_pem {
            return;
        }
        let read = Revocations::from_pem(&pem);
        self.revoked_pem = pem;
        let revoked = match read {
            Ok(revoked) => Arc::new(revoked.counting(refused.clone())),
            Err(error) => {
                warn!(error = %Chain(&error), "revocation lists cannot be used, the last ones stay");
                return;
            }
        };
        info!(certificates = revoked.len(), "revocation lists changed");
        for (id, entry) in &mut self.entries {
            let Some(svid) = entry.state.borrow().svid.clone() else {
                continue;
            };
            if revoked.names(svid.chain()) {
                warn!(identity = %id, serial = svid.serial(), "own certificate is revoked, another one is asked for");
                entry.due = entry.due.map(|due| due.min(now));
            }
            let svid = Arc::new(svid.refusing(revoked.clone()));
            entry.state.send_modify(|state| state.svid = Some(svid));
        }
        self.revoked.send_replace(revoked);
    }

    fn finish(&mut self, fetch: &Fetch, result: Result<Svid, CaError>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&fetch.id) else {
            return;
        };
        if entry.generation != fetch.generation {
            return;
        }
        match result {
            Ok(svid) => {
                let (svid, leads) = match &self.published {
                    Some(published) => published.joined(svid),
                    None => (svid, true),
                };
                let revoked = self.revoked.borrow().clone();
                let svid = match revoked.is_empty() {
                    true => svid,
                    false => svid.refusing(revoked.clone()),
                };
                let counts = !revoked.names(svid.chain());
                entry.renewed(svid, now);
                entry.behind = if leads && counts {
                    0
                } else {
                    entry.behind.saturating_add(1)
                };
                if let Some(wait) = rotate::behind(entry.behind) {
                    // One of several authorities that has not followed yet; or what it gives is revoked.
                    entry.due = entry.due.map(|due| due.min(now + wait));
                }
                if fetch.authorities != self.authorities {
                    // It may be the former authority's.
                    entry.due = Some(now + MINIMAL_WAIT);
                }
            }
            Err(error) => entry.failed(&fetch.id, error, now),
        }
    }
}

impl Entry {
    fn renewed(&mut self, svid: Svid, now: Instant) {
        let left = svid.remaining(SystemTime::now()).unwrap_or(Duration::ZERO);
        debug!(identity = %svid.id(), serial = svid.serial(), ?left, "certificate received");
        self.failures = 0;
        self.priority = Priority::Renewal;
        self.expires = Some(now + left);
        // A certificate that is over on arrival is asked for again, but not in a tight loop.
        let wait = rotate::renew_after(left, rand::random()).max(MINIMAL_WAIT);
        self.due = Some(now + wait);
        self.state.send_replace(CertState {
            svid: Some(Arc::new(svid)),
            error: None,
        });
    }

    fn failed(&mut self, id: &SpiffeId, error: CaError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let wait = rotate::backoff(self.failures, rand::random());
        warn!(identity = %id, error = %Chain(&error), retry_in = ?wait, "no certificate");
        self.due = Some(now + wait);
        self.state
            .send_modify(|state| state.error = Some(Arc::new(error)));
    }
}

/// How often is looked at what the authority publishes. A kubelet takes a minute or two to bring a changed
/// ConfigMap to a pod.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two requests for one identity.
const MINIMAL_WAIT: Duration = Duration::from_millis(200);

/// Serves the table until dropped.
pub(super) fn serve(
    shared: Arc<Shared>,
    authority: Arc<dyn Authority>,
    config: StoreConfig,
) -> impl Future<Output = ()> + Send + use<> {
    let asked = authority.clone();
    let ask = move |fetch: Fetch| {
        let authority = asked.clone();
        async move {
            let result = obtain(&*authority, &fetch.id, config.validity).await;
            (fetch, result)
        }
    };
    async move {
        if let Some(revoked) = authority.revocations().await {
            shared
                .table()
                .revoke(revoked, &shared.refused, Instant::now());
        }
        let mut running = FuturesUnordered::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = {
                let mut table = shared.table();
                let now = Instant::now();
                table.expire(now);
                while running.len() < config.concurrency {
                    let Some(fetch) = table.start_next(now) else {
                        break;
                    };
                    running.push(ask(fetch));
                }
                if running.len() < config.concurrency {
                    table.next_event()
                } else {
                    table.next_expiry()
                }
            };
            tokio::select! {
                () = shared.changed.notified() => {}
                Some((fetch, result)) = running.next(), if !running.is_empty() => {
                    shared.table().finish(&fetch, result, Instant::now());
                }
                _ = look.tick() => {
                    if let Some(trust) = authority.trust().await {
                        shared.table().trust(trust, Instant::now());
                    }
                    if let Some(revoked) = authority.revocations().await {
                        shared.table().revoke(revoked, &shared.refused, Instant::now());
                    }
                }
                () = until(wake) => {}
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
