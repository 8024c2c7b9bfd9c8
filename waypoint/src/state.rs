//! What this waypoint knows of the mesh: workloads and services, and the routes it runs.
//! In: xDS, through `writer`. Out: [`View`], immutable, loaded once per decision.
//! Owns: the current view (one writer, any number of readers). Never changed from the data path.

mod names;
mod subscriber;
mod writer;

pub(crate) use names::Names;
pub use subscriber::Subscriber;
pub use writer::{Rejected, Update, Writer};

use ambit_model::ids::{ClusterName, ServiceKey};
use ambit_model::route::{Addressee, Cluster, Endpoints, Gateway, Router, VirtualHost};
use ambit_model::snapshot::Snapshot;
use arc_swap::{ArcSwap, Guard};
use rpds::HashTrieMapSync;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a connection or request waits for configuration before it is refused.
pub const CONFIGURATION_WAIT: Duration = Duration::from_secs(5);
/// A node proxy may have heard of a binding that is new before we have: the controller tells everybody at
/// once, and everybody takes their own time.
pub const LATE: Duration = Duration::from_secs(2);

/// Everything known at one moment. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Workloads and services.
    pub mesh: Snapshot,
    gateway: Option<Arc<Gateway>>,
    routers: HashTrieMapSync<(Addressee, u16), Arc<Router>>,
    clusters: HashTrieMapSync<ClusterName, Arc<Cluster>>,
    endpoints: HashTrieMapSync<ClusterName, Arc<Endpoints>>,
    synced: Synced,
    /// What names of endpoints resolve to now: it follows the nameservers, not the views.
    names: Names,
}

/// Which types have had their first full response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Synced {
    addresses: bool,
    gateway: bool,
    routers: bool,
    clusters: bool,
    endpoints: bool,
}

impl View {
    /// Every type is known: absence is now a fact.
    pub fn is_complete(&self) -> bool {
        let s = self.synced;
        s.addresses && s.gateway && s.routers && s.clusters && s.endpoints
    }

    /// What this gateway demands of everything; `None` until it has arrived.
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        self.gateway.as_ref()
    }

    /// The routes of a service port.
    pub fn router(&self, service: &ServiceKey, port: u16) -> Option<&Arc<Router>> {
        self.routers
            .get(&(Addressee::Service(service.clone()), port))
    }

    /// The routes of the virtual host of a listener that takes an authority: the exact one, else the
    /// one of the longest suffix, else the one for all.
    pub fn virtual_host(&self, port: u16, authority: &str) -> Option<&Arc<Router>> {
        VirtualHost::of_authority(authority)
            .find_map(|host| self.routers.get(&(Addressee::Host(host), port)))
    }

    /// Ports that take plaintext HTTP from outside the mesh; none while that is not known.
    pub fn plaintext_ports(&self) -> &[u16] {
        self.gateway.as_ref().map_or(&[], |gateway| &gateway.ports)
    }

    /// All routes, in no order.
    pub fn routers(&self) -> impl Iterator<Item = &Arc<Router>> {
        self.routers.values()
    }

    /// A cluster.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)
    }

    /// All clusters, in no order.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.values()
    }

    /// Who serves each cluster, in no order.
    pub(crate) fn all_endpoints(&self) -> impl Iterator<Item = &Arc<Endpoints>> {
        self.endpoints.values()
    }

    /// What names of endpoints resolve to.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Who serves a cluster.
    pub fn endpoints(&self, name: &ClusterName) -> Option<&Arc<Endpoints>> {
        self.endpoints.get(name)
    }
}

/// The current view. Clones share it.
#[derive(Clone, Debug)]
pub struct State {
    current: Arc<ArcSwap<View>>,
    /// Generation of the mesh part; changes with every new view.
    changes: watch::Receiver<u64>,
}

impl State {
    /// An empty state and its only writer. `gateway`: `<namespace>/<name>` of the Gateway we run;
    /// routers of others are ignored.
    pub fn new(gateway: &str) -> (Self, Writer) {
        let current = Arc::new(ArcSwap::from_pointee(View::default()));
        let (sender, changes) = watch::channel(0);
        let writer = Writer::new(gateway, current.clone(), sender);
        (Self { current, changes }, writer)
    }

    /// The view now. Hold it for one decision, not across waits.
    pub fn load(&self) -> Guard<Arc<View>> {
        self.current.load()
    }

    /// Tells of every new view.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// What `find` finds, waiting at most [`CONFIGURATION_WAIT`] for it while configuration is still
    /// arriving and [`LATE`] after that. `None`: it is not there in time.
    pub async fn wait_for<T>(&self, find: impl Fn(&View) -> Option<T>) -> Option<T> {
        let (mut changes, begun) = (self.changes.clone(), Instant::now());
        loop {
            changes.mark_unchanged();
            let limit = {
                let view = self.load();
                if let Some(found) = find(&view) {
                    return Some(found);
                }
                match view.is_complete() {
                    true => LATE,
                    false => CONFIGURATION_WAIT,
                }
            };
            let left = limit.checked_sub(begun.elapsed())?;
            tokio::time::timeout(left, changes.changed())
                .await
                .ok()?
                .ok()?;
        }
    }
}
