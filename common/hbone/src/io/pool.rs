//! Tunnels of one worker, by who talks to whom.
//! In: a key, a certificate, a way to dial. Out: a stream on a tunnel that had room, or on a new one.
//! Owns: the tunnels, and one dial per key at a time: whoever needs the same tunnel waits for the
//! same dial and gets its result, error included, at the same moment. Tunnels that are full are
//! joined by others; those without streams are let go; those that broke, were told to go away, or
//! show an old certificate get no new streams.
//! Must not happen here: one key waiting for another; a stream that was already answered repeated.

mod flight;

use super::client::{Opened, Permit, Tunnel};
use super::error::{ConnectError, DialError, OpenError};
use super::{Settings, client};
use crate::wire::ConnectRequest;
use ambit_identity::Svid;
use ambit_model::ids::SpiffeId;
use flight::Flight;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a request that nobody processed is tried on another tunnel.
const TRIES: usize = 3;

/// What makes a tunnel fit for a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TunnelKey {
    /// Who we are.
    pub source: SpiffeId,
    /// Who the peer may be, sorted (another order would be another tunnel).
    pub expected: Arc<[SpiffeId]>,
    /// Where it is.
    pub to: SocketAddr,
    /// From which pod: any number that is unique for its network namespace.
    pub from: u64,
}

/// Tunnels of one worker. Cheap to clone; dropping the last clone ends dials in progress, while
/// streams go on.
#[derive(Clone)]
pub struct Pool {
    inner: Rc<Inner>,
}

struct Inner {
    settings: Settings,
    slots: RefCell<HashMap<TunnelKey, Slot, foldhash::fast::RandomState>>,
    stats: Cell<PoolStats>,
    /// Dials, and the sweeper.
    tasks: RefCell<JoinSet<()>>,
    sweeping: Cell<bool>,
    /// Watched by every tunnel until its connection has ended.
    drivers: watch::Sender<()>,
}

#[derive(Default)]
struct Slot {
    tunnels: Vec<Rc<Tunnel>>,
    flight: Option<Flight>,
}

/// Counts since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Dials begun.
    pub dials: u64,
    /// Dials failed.
    pub dial_failures: u64,
    /// Streams opened.
    pub streams: u64,
    /// Streams opened on a tunnel that was there before.
    pub reused: u64,
    /// Tunnels let go because nobody used them.
    pub idle_releases: u64,
}

/// State of one tunnel, for the admin interface.
#[derive(Clone, Debug)]
pub struct TunnelState {
    /// Who talks to whom.
    pub key: TunnelKey,
    /// The identity the peer proved.
    pub peer: SpiffeId,
    /// Streams it carries.
    pub streams: usize,
    /// False if it gets no new ones.
    pub takes_streams: bool,
}

impl Pool {
    /// An empty pool of the current `LocalSet`.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Rc::new(Inner {
                settings,
                slots: RefCell::default(),
                stats: Cell::default(),
                tasks: RefCell::default(),
                sweeping: Cell::new(false),
                drivers: watch::Sender::new(()),
            }),
        }
    }

    /// Opens a stream to `request.authority` through the peer of `key`, dialling with `dial` (in
    /// the pod's network namespace, say) if no tunnel has room.
    ///
    /// # Errors
    /// [`OpenError`]. A request the peer said it did not process, or that found a dead tunnel, is
    /// repeated on another one before that.
    pub async fn open<D, F, T, E>(
        &self,
        key: &TunnelKey,
        svid: &Arc<Svid>,
        dial: D,
        request: &ConnectRequest,
    ) -> Result<Opened, OpenError>
    where
        D: Fn() -> F,
        F: Future<Output = Result<T, E>> + 'static,
        T: AsyncRead + AsyncWrite + Unpin + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let (permit, reused) = self
                .checkout(key, svid, &dial)
                .await
                .map_err(OpenError::Dial)?;
            let tunnel = permit.tunnel().clone();
            let error = match permit.open(request).await {
                Ok(opened) => {
                    self.inner.count(|s| {
                        s.streams += 1;
                        s.reused += u64::from(reused);
                    });
                    return Ok(opened);
                }
                Err(error) => error,
            };
            let repeat = match &error {
                ConnectError::Unprocessed(_) => true,
                // The peer may have died since the tunnel was last used; of a new one this is news.
                ConnectError::Tunnel(_) => reused,
                _ => false,
            };
            if matches!(
                error,
                ConnectError::Unprocessed(_) | ConnectError::Tunnel(_)
            ) {
                tunnel.retire();
            }
            if !repeat || tries == TRIES {
                return Err(OpenError::Connect(error));
            }
        }
    }

    /// A place on a tunnel, and whether the tunnel was there before.
    async fn checkout<D, F, T, E>(
        &self,
        key: &TunnelKey,
        svid: &Arc<Svid>,
        dial: &D,
    ) -> Result<(Permit, bool), Arc<DialError>>
    where
        D: Fn() -> F,
        F: Future<Output = Result<T, E>> + 'static,
        T: AsyncRead + AsyncWrite + Unpin + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut reused = true;
        loop {
            if let Some(permit) = self.inner.reserve(key, svid) {
                return Ok((permit, reused));
            }
            reused = false;
            // Each dial that succeeds serves at least one of those who wait for it.
            self.join_or_dial(key, svid, dial).landed().await?;
        }
    }

    fn join_or_dial<D, F, T, E>(&self, key: &TunnelKey, svid: &Arc<Svid>, dial: &D) -> Flight
    where
        D: Fn() -> F,
        F: Future<Output = Result<T, E>> + 'static,
        T: AsyncRead + AsyncWrite + Unpin + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut slots = self.inner.slots.borrow_mut();
        let slot = slots.entry(key.clone()).or_default();
        if let Some(flight) = &slot.flight {
            return flight.clone();
        }
        let (landing, flight) = flight::begin(&self.inner, key.clone());
        slot.flight = Some(flight.clone());
        drop(slots);
        self.inner.count(|s| s.dials += 1);
        let tcp = dial();
        let (svid, expected) = (svid.clone(), key.expected.clone());
        let settings = self.inner.settings.clone();
        let among = self.inner.drivers.subscribe();
        let task = async move {
            let result = establish(tcp, (&svid, &expected), &settings, among).await;
            landing.land(result);
        };
        let mut tasks = self.inner.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
        if !self.inner.sweeping.replace(true) {
            tasks.spawn_local(sweep(Rc::downgrade(&self.inner)));
        }
        flight
    }

    /// Counts so far.
    pub fn stats(&self) -> PoolStats {
        self.inner.stats.get()
    }

    /// All tunnels of the pool.
    pub fn tunnels(&self) -> Vec<TunnelState> {
        let slots = self.inner.slots.borrow();
        let states = slots.iter().flat_map(|(key, slot)| {
            slot.tunnels.iter().map(|tunnel| TunnelState {
                key: key.clone(),
                peer: tunnel.peer().clone(),
                streams: tunnel.streams(),
                takes_streams: tunnel.takes_streams(),
            })
        });
        states.collect()
    }

    /// Lets go tunnels that show another certificate than `svid`, or check peers by other roots: their
    /// streams go on, and whoever keeps one for later is told by its [`super::TunnelLife`].
    pub fn keep_only(&self, svid: &Arc<Svid>) {
        for slot in self.inner.slots.borrow_mut().values_mut() {
            slot.tunnels.retain(|tunnel| shows(tunnel, svid));
        }
    }

    /// Lets go all tunnels and waits until their last streams have ended, everything is sent and the peers
    /// have ended their sides: a process that exits before cuts what its peers have not read yet.
    pub async fn close(&self) {
        self.inner.slots.borrow_mut().clear();
        self.inner.tasks.borrow_mut().abort_all();
        self.inner.drivers.closed().await;
    }

    /// Lets go all tunnels from one pod (see [`TunnelKey::from`]); their streams go on.
    pub fn forget(&self, from: u64) {
        self.inner
            .slots
            .borrow_mut()
            .retain(|key, _| key.from != from);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.inner.stats.get())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A place on the emptiest fit tunnel; unfit ones are dropped on the way.
    fn reserve(&self, key: &TunnelKey, svid: &Arc<Svid>) -> Option<Permit> {
        let mut slots = self.slots.borrow_mut();
        let tunnels = &mut slots.get_mut(key)?.tunnels;
        tunnels.retain(|t| shows(t, svid) && t.takes_streams());
        tunnels.iter().min_by_key(|t| t.streams())?.reserve()
    }

    fn count(&self, change: impl FnOnce(&mut PoolStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn release_idle(&self) {
        let mut released = 0;
        let after = self.settings.idle_release;
        self.slots.borrow_mut().retain(|_, slot| {
            let before = slot.tunnels.len();
            slot.tunnels
                .retain(|t| t.takes_streams() && t.idle_for().is_none_or(|idle| idle < after));
            released += before - slot.tunnels.len();
            !slot.tunnels.is_empty() || slot.flight.is_some()
        });
        self.count(|s| s.idle_releases += released as u64);
    }
}

/// Whether the tunnel was made with this certificate; one that was not gets no more streams.
fn shows(tunnel: &Tunnel, svid: &Arc<Svid>) -> bool {
    let same = Arc::ptr_eq(tunnel.svid(), svid);
    if !same {
        tunnel.retire();
    }
    same
}

async fn establish<T, E>(
    tcp: impl Future<Output = Result<T, E>>,
    (svid, expected): (&Arc<Svid>, &Arc<[SpiffeId]>),
    settings: &Settings,
    among: watch::Receiver<()>,
) -> Result<Rc<Tunnel>, DialError>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let after = settings.connect_deadline;
    let io = tokio::time::timeout(after, tcp)
        .await
        .map_err(|_| DialError::Timeout {
            stage: super::Stage::Connect,
            after,
        })?
        .map_err(|error| DialError::Connect(error.into()))?;
    client::connect(io, svid, expected, settings, among).await
}

/// Lets idle tunnels go until the pool is dropped.
async fn sweep(pool: Weak<Inner>) {
    while let Some(inner) = pool.upgrade() {
        let pause = inner.settings.idle_release / 4;
        inner.release_idle();
        drop(inner);
        tokio::time::sleep(pause).await;
    }
}
