//! Watching an API server: one feed per kind, joined into batches.

use super::catalog::{Catalog, News};
use super::config_maps::{ConfigMaps, Named};
use super::crds;
use super::feed::Feed;
use super::kinds::{Kinds, definition, is_custom};
use crate::Batch;
use crate::watch::{Batches, Watch, WatchError};
use ambit_crds::Kind;
use ambit_runtime::tasks::TaskGroup;
use futures::future::BoxFuture;
use kube::Client;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// What belongs together comes together: a batch waits for this much silence.
const QUIET: Duration = Duration::from_millis(5);
/// A cluster that never rests is told this often.
const PATIENCE: Duration = Duration::from_millis(50);
/// News that wait for the reader; then the watches wait.
const QUEUE: usize = 1024;

/// A watched cluster.
#[derive(Debug)]
struct ClusterWatch {
    news: mpsc::Receiver<News>,
    catalog: Catalog,
    /// ConfigMaps to read, if any are.
    named: Option<Named>,
    feeds: TaskGroup,
    /// First news not yet settled.
    unsettled: Option<Instant>,
}

/// Starts to watch. A server that cannot be reached is waited for; a kind whose definition is missing
/// is watched as soon as it appears. Must be called within a Tokio runtime.
pub fn watch(client: Client, kinds: Kinds) -> Watch {
    let targets = kinds.targets();
    let (news, receiver) = mpsc::channel(QUEUE);
    let (touch, touched) = watch::channel(0);
    let overlays = match &kinds {
        Kinds::MeshAndOverlays(namespace) => Some(namespace.clone()),
        Kinds::Mesh | Kinds::Node(_) => None,
    };
    let listed = targets.iter().map(|target| target.kind.clone());
    let catalog = Catalog::new(listed.chain(overlays.is_some().then_some(Kind::ConfigMap)));
    let custom = targets.iter().map(|target| &target.kind);
    let custom: BTreeSet<String> = custom.filter(|k| is_custom(k)).map(definition).collect();
    let mut feeds = TaskGroup::new("watches");
    if !custom.is_empty() {
        feeds.spawn("definitions", crds::run(client.clone(), custom, touch));
    }
    let named = overlays.map(|namespace| {
        let (named, names) = Named::new();
        let maps = ConfigMaps {
            client: client.clone(),
            namespace,
            news: news.clone(),
            names,
            denied: false,
        };
        feeds.spawn("overlays", maps.run());
        named
    });
    for target in targets {
        let feed = Feed {
            client: client.clone(),
            target,
            news: news.clone(),
            touched: touched.clone(),
        };
        feeds.spawn("watch of a kind", feed.run());
    }
    Watch::new(ClusterWatch {
        news: receiver,
        catalog,
        named,
        feeds,
        unsettled: None,
    })
}

impl Batches for ClusterWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>> {
        Box::pin(self.batch())
    }
}

impl ClusterWatch {
    /// The next batch. Cancel-safe: what was received is in the catalogue.
    async fn batch(&mut self) -> Result<Batch, WatchError> {
        loop {
            if !self.catalog.is_complete() || self.unsettled.is_none() {
                let news = self.receive().await?;
                self.note(news);
                continue;
            }
            self.gather().await;
            self.unsettled = None;
            if let Some(batch) = self.catalog.settle() {
                return Ok(batch);
            }
        }
    }

    async fn receive(&mut self) -> Result<News, WatchError> {
        tokio::select! {
            // Feeds hold senders while they live, so there is news or a feed that ended.
            Some(news) = self.news.recv() => Ok(news),
            ended = self.feeds.next() => Err(WatchError::Ended {
                what: ended.map_or("the API server", |ended| ended.task).to_owned(),
            }),
        }
    }

    /// Takes in what comes close together.
    async fn gather(&mut self) {
        let end = self.unsettled.unwrap_or_else(Instant::now) + PATIENCE;
        while let Ok(Ok(Some(news))) = timeout_at(end, timeout(QUIET, self.news.recv())).await {
            self.note(news);
        }
    }

    fn note(&mut self, news: News) {
        if let Some(named) = &mut self.named {
            named.note(&news);
        }
        self.catalog.note(news);
        self.unsettled.get_or_insert_with(Instant::now);
    }
}
