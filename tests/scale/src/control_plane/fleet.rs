//! Nodes and waypoints without a data plane: clients of the controller, over TLS with tokens, as the
//! proxies are. In: updates. Out: who is in sync, and when a resource had reached everybody.

use super::fill::SYSTEM;
use super::population::{Population, WAYPOINT, WITH_WAYPOINT, namespace, node};
use crate::api::Api;
use ambit_api::discovery::Node;
use ambit_api::type_urls;
use ambit_runtime::tasks::{self, Task};
use ambit_xds::io::client::{ClientCounters, RootCert};
use ambit_xds::{ClientConfig, Handler, Rejection, Update};
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

const NODE_TYPES: [&str; 2] = [type_urls::AUTHORIZATION, type_urls::ADDRESS];
const GATEWAY_TYPES: [&str; 5] = [
    type_urls::ADDRESS,
    type_urls::CLUSTER,
    type_urls::ENDPOINTS,
    type_urls::GATEWAY,
    type_urls::ROUTER,
];
/// Everything is there after this, or never.
const PATIENCE: Duration = Duration::from_secs(120);

/// A resource that clients wait for.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    pub(crate) type_url: &'static str,
    pub(crate) name: String,
    pub(crate) by: By,
}

/// Which clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Every node.
    Nodes,
    /// The waypoint of the namespace with this number.
    Waypoint(usize),
}

#[derive(Debug, Default)]
struct State {
    /// Clients and types without a first answer
    unsynced: BTreeSet<(usize, &'static str)>,
    sought: Option<Sought>,
    waiting: BTreeSet<usize>,
    arrived: Option<Instant>,
    received: u64,
    refused: Vec<String>,
}

#[derive(Debug, Default)]
struct Board {
    state: Mutex<State>,
    bell: Notify,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Client {
    number: usize,
    board: Arc<Board>,
}

impl Handler for Client {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let mut state = self.board.lock();
        state.received += update.resources.len() as u64;
        let malformed = update.malformed.iter().map(|bad| bad.reason.clone());
        state.refused.extend(malformed);
        let mut ring = false;
        if update.first {
            let number = self.number;
            state
                .unsynced
                .retain(|(client, kind)| *client != number || *kind != update.type_url);
            ring = state.unsynced.is_empty();
        }
        let found = state.sought.as_ref().is_some_and(|sought| {
            sought.type_url == update.type_url
                && (update.resources.iter().any(|r| r.name == sought.name)
                    || update.removed.contains(&sought.name))
        });
        if found && state.waiting.remove(&self.number) && state.waiting.is_empty() {
            state.arrived = Some(Instant::now());
            ring = true;
        }
        drop(state);
        if ring {
            self.board.bell.notify_one();
        }
        Vec::new()
    }
}

/// The clients.
pub(crate) struct Fleet {
    board: Arc<Board>,
    counters: Vec<Arc<ClientCounters>>,
    nodes: usize,
    _clients: Vec<Task<()>>,
}

/// How to reach the controller.
pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) root: String,
    /// Directory of token files
    pub(crate) tokens: PathBuf,
}

impl Door {
    /// Writes the tokens that clients show.
    pub(crate) async fn open(api: &Api, address: String, tokens: &Path) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{SYSTEM}/configmaps/istio-ca-root-cert");
        let mut root = None;
        super::fill::wait("the roots", async || {
            let map = api.get(&path).await?.unwrap_or_default();
            root = map["data"]["root-cert.pem"].as_str().map(str::to_owned);
            Ok(root.is_some())
        })
        .await?;
        let accounts = (0..WITH_WAYPOINT).map(|n| (namespace(n), WAYPOINT));
        for (namespace, account) in accounts.chain([(SYSTEM.to_owned(), "ztunnel")]) {
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
            let request = json!({"spec": {"audiences": ["istio-ca"], "expirationSeconds": 43_200}});
            let answer = api.ask(&path, &request).await?;
            let token = answer["status"]["token"].as_str().context("a token")?;
            std::fs::write(tokens.join(&namespace), token).context("write a token")?;
        }
        Ok(Self {
            address,
            root: root.context("roots")?,
            tokens: tokens.to_owned(),
        })
    }

    fn config(&self, number: usize, nodes: usize) -> ClientConfig {
        let (id, token, types) = match number.checked_sub(nodes) {
            None => (node(number), SYSTEM.to_owned(), &NODE_TYPES[..]),
            Some(n) => (format!("waypoint-{n}"), namespace(n), &GATEWAY_TYPES[..]),
        };
        ClientConfig {
            address: self.address.clone(),
            root: RootCert::Inline(self.root.clone()),
            server_name: Some(format!("istiod.{SYSTEM}.svc")),
            token_file: Some(self.tokens.join(token)),
            headers: Vec::new(),
            node: Node {
                id,
                ..Node::default()
            },
            types: types.to_vec(),
        }
    }
}

impl Fleet {
    /// Starts a client for every node and every waypoint, all at once.
    pub(crate) fn start(door: &Door, population: &Population) -> Self {
        let board = Arc::<Board>::default();
        let nodes = population.nodes;
        let all = nodes + WITH_WAYPOINT;
        let mut counters = Vec::new();
        let mut clients = Vec::new();
        let configs: Vec<ClientConfig> = (0..all).map(|n| door.config(n, nodes)).collect();
        for (number, config) in configs.iter().enumerate() {
            let types = config.types.iter().map(|kind| (number, *kind));
            board.lock().unsynced.extend(types);
        }
        for (number, config) in configs.into_iter().enumerate() {
            let own = Arc::<ClientCounters>::default();
            counters.push(own.clone());
            let client = Client {
                number,
                board: board.clone(),
            };
            let run = ambit_xds::run(config, own, client);
            clients.push(tasks::spawn("client", run));
        }
        Self {
            board,
            counters,
            nodes,
            _clients: clients,
        }
    }

    /// Waits until every client has all it asked for.
    pub(crate) async fn synced(&self) -> Result<()> {
        let all = async {
            while !self.board.lock().unsynced.is_empty() {
                self.board.bell.notified().await;
            }
        };
        timeout(PATIENCE, all).await.map_err(|_| {
            let left = self.board.lock().unsynced.len();
            anyhow!("{left} subscriptions had no answer in {PATIENCE:?}")
        })
    }

    /// Looks out for the next update of a resource.
    pub(crate) fn seek(&self, sought: Sought) {
        let mut state = self.board.lock();
        state.waiting = match sought.by {
            By::Nodes => (0..self.nodes).collect(),
            By::Waypoint(n) => BTreeSet::from([self.nodes + n]),
        };
        state.sought = Some(sought);
        state.arrived = None;
    }

    /// When all who were to have it had it.
    pub(crate) async fn found(&self) -> Result<Instant> {
        let found = async {
            loop {
                if let Some(at) = self.board.lock().arrived {
                    return at;
                }
                self.board.bell.notified().await;
            }
        };
        timeout(PATIENCE, found).await.map_err(|_| {
            let state = self.board.lock();
            anyhow!("{:?}: not at {:?}", state.sought, state.waiting)
        })
    }

    /// Resources and bytes that came so far, of messages that were read.
    pub(crate) fn received(&self) -> Result<(u64, u64)> {
        let state = self.board.lock();
        ensure!(state.refused.is_empty(), "refused: {:?}", state.refused);
        let of = |counters: &Arc<ClientCounters>| {
            let bytes = counters
                .bytes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            bytes.values().sum::<u64>()
        };
        Ok((state.received, self.counters.iter().map(of).sum()))
    }
}
