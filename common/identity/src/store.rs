//! Certificates of the identities in use on this node.
//! In: [`SecretStore::lease`] from whoever uses an identity. Out: fresh [`Svid`]s, watched.
//! Owns: one entry per identity. The future returned by [`SecretStore::new`] is the only one that
//! asks the authority: one request per identity at a time, at most 8 together, somebody waiting
//! first. An old certificate serves until it expires; the last lease takes the entry with it.
//! Must not happen here: a lock held across an await, a certificate used after its end.

mod published;
mod schedule;
#[cfg(test)]
mod tests;

use crate::authority::{Authority, CaError};
use crate::revocation::PeerCertificates;
use crate::svid::Svid;
use ambit_model::ids::SpiffeId;
use schedule::Table;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::{Notify, watch};

/// How soon a certificate is wanted; the more urgent is fetched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A connection waits for it.
    OnDemand,
    /// A pod has appeared and will need it.
    Warmup,
    /// There is a valid one.
    Renewal,
}

/// What is known about an identity's certificate.
#[derive(Clone, Debug, Default)]
pub struct CertState {
    /// The certificate in use; absent before the first and after expiry.
    pub svid: Option<Arc<Svid>>,
    /// Why the last request failed, until one succeeds.
    pub error: Option<Arc<CaError>>,
}

/// Why there is no certificate to use.
#[derive(Clone, Debug, Error)]
pub enum SecretError {
    /// The authority does not give one.
    #[error("no certificate for {id}")]
    Unavailable {
        /// Whose.
        id: SpiffeId,
        /// Why.
        #[source]
        source: Arc<CaError>,
    },
    /// It did not come in time.
    #[error("no certificate for {id} within {after:?}")]
    Timeout {
        /// Whose.
        id: SpiffeId,
        /// The deadline.
        after: Duration,
    },
    /// The store has stopped.
    #[error("the certificate store has stopped")]
    Stopped,
}

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Lifetime to ask for (`SECRET_TTL`).
    pub validity: Duration,
    /// Requests at a time.
    pub concurrency: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            validity: Duration::from_secs(24 * 3600),
            concurrency: 8,
        }
    }
}

/// Certificates by identity. Cheap to clone; usable from every thread.
#[derive(Clone, Debug)]
pub struct SecretStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Something is due sooner than the scheduler thinks.
    changed: Notify,
    /// Peers refused because a certificate of theirs is revoked.
    refused: Arc<AtomicU64>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held; a poisoned table is still consistent.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of one identity, for `config_dump`.
#[derive(Clone, Debug)]
pub struct SecretSnapshot {
    /// Whose.
    pub identity: SpiffeId,
    /// Its certificate and last error.
    pub state: CertState,
    /// Leases held.
    pub users: usize,
}

impl SecretStore {
    /// The store and the future that serves it; the caller owns and spawns that future, and when
    /// it is dropped nothing is fetched any more.
    pub fn new(
        authority: Arc<dyn Authority>,
        config: StoreConfig,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let shared = Arc::new(Shared {
            table: Mutex::new(Table::default()),
            changed: Notify::new(),
            refused: Arc::default(),
        });
        let serve = schedule::serve(shared.clone(), authority, config);
        (Self { shared }, serve)
    }

    /// Keeps a certificate for `id` fresh as long as the lease lives.
    pub fn lease(&self, id: &SpiffeId, priority: Priority) -> Lease {
        let state = self.shared.table().join(id, priority);
        self.shared.changed.notify_one();
        Lease {
            id: id.clone(),
            state,
            shared: self.shared.clone(),
        }
    }

    /// The certificate of `id`, waiting at most `deadline` for it. Keeps it only as long as
    /// somebody else holds a lease.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn svid(&self, id: &SpiffeId, deadline: Duration) -> Result<Arc<Svid>, SecretError> {
        self.lease(id, Priority::OnDemand).svid(deadline).await
    }

    /// Resolves once a certificate that a peer has shown is revoked, with its serial number; counts it.
    pub async fn revoked(&self, shown: &PeerCertificates) -> String {
        let mut lists = self.shared.table().revocations();
        let mut serial = None;
        let found = lists.wait_for(|lists| {
            serial = lists.revoked(shown);
            serial.is_some()
        });
        // A store that has stopped hears of no more.
        if found.await.is_err() {
            std::future::pending::<()>().await;
        }
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        serial.unwrap_or_default()
    }

    /// Peers refused because of those, so far.
    pub fn peers_revoked(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// All identities, ordered.
    pub fn snapshot(&self) -> Vec<SecretSnapshot> {
        self.shared.table().snapshot()
    }
}

/// One user of an identity. Dropping the last one forgets the certificate.
#[derive(Debug)]
pub struct Lease {
    id: SpiffeId,
    state: watch::Receiver<CertState>,
    shared: Arc<Shared>,
}

impl Lease {
    /// Whose certificate.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The certificate now, if there is a valid one.
    pub fn current(&self) -> Option<Arc<Svid>> {
        valid(&self.state.borrow())
    }

    /// Certificate and last error now.
    pub fn state(&self) -> CertState {
        self.state.borrow().clone()
    }

    /// Resolves at the next change of [`Lease::state`].
    ///
    /// # Errors
    /// [`SecretError::Stopped`].
    pub async fn changed(&mut self) -> Result<(), SecretError> {
        self.state.changed().await.map_err(|_| SecretError::Stopped)
    }

    /// The certificate; waits for the first one, at most `deadline`. While it waits the request
    /// goes before those nobody waits for.
    ///
    /// # Errors
    /// [`SecretError`]: at once if the last request failed and no valid certificate is left.
    pub async fn svid(&self, deadline: Duration) -> Result<Arc<Svid>, SecretError> {
        if let Some(svid) = self.current() {
            return Ok(svid);
        }
        if self.shared.table().hurry(&self.id) {
            self.shared.changed.notify_one();
        }
        let mut state = self.state.clone();
        let known = state.wait_for(|s| s.error.is_some() || valid(s).is_some());
        let state = tokio::time::timeout(deadline, known)
            .await
            .map_err(|_| SecretError::Timeout {
                id: self.id.clone(),
                after: deadline,
            })?
            .map_err(|_| SecretError::Stopped)?;
        match (valid(&state), &state.error) {
            (Some(svid), _) => Ok(svid),
            (None, Some(error)) => Err(SecretError::Unavailable {
                id: self.id.clone(),
                source: error.clone(),
            }),
            (None, None) => Err(SecretError::Stopped),
        }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            state: self.shared.table().join(&self.id, Priority::Renewal),
            shared: self.shared.clone(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.table().leave(&self.id);
    }
}

/// The scheduler withdraws an expired certificate; the clock is asked too, for a machine that slept.
fn valid(state: &CertState) -> Option<Arc<Svid>> {
    state
        .svid
        .clone()
        .filter(|svid| svid.remaining(SystemTime::now()).is_some())
}
