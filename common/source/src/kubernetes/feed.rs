//! Follows one kind: finds its version, lists, watches, resumes; says [`News`].
//! In: the API server. Out: news on a bounded channel, which slows the watch when the reader is slow.
//! A kind that is not served is an empty list, and is looked for again.

use super::catalog::News;
use super::kinds::{Target, is_custom, resource};
use super::request::{Cause, DEADLINE, is_code};
use super::trim::trim;
use crate::directory::{Content, judge};
use ambit_crds::{Code, FieldError, Kind, Object, ObjectKey, ObjectRef, Severity};
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// A list that gives no page for this long is begun again.
const PAGE: Duration = Duration::from_secs(60);

/// How long a new definition takes until all its versions are served.
const SETTLING: Duration = Duration::from_secs(2);

/// What a feed works with.
pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) target: Target,
    pub(super) news: mpsc::Sender<News>,
    /// Counts definitions that were touched.
    pub(super) touched: watch::Receiver<u64>,
}

/// Nobody reads the news any more.
struct Unread;

/// Pauses between tries: growing, and not in step with other processes.
#[derive(Debug)]
pub(super) struct Pace(Duration);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pace {
    /// The next pause.
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        // Two processes that failed together do not come back together.
        let spread =
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), pause.as_millis())
                % 100;
        pause.mul_f64(0.75 + f64::from(u32::try_from(spread).unwrap_or(0)) / 200.0)
    }

    /// Waits for it.
    pub(super) async fn wait(&mut self) {
        sleep(self.next()).await;
    }
}

impl Feed {
    /// Runs until nobody reads.
    pub(super) async fn run(mut self) {
        while self.round().await.is_ok() {}
    }

    /// From finding the version until it is served no more.
    async fn round(&mut self) -> Result<(), Unread> {
        let resource = self.found().await?;
        tracing::debug!(kind = %self.target.kind, version = resource.version, "watching");
        self.follow(resource).await
    }

    /// Waits until a version of the kind is served; until then it has no objects.
    async fn found(&mut self) -> Result<ApiResource, Unread> {
        let kind = self.target.kind.clone();
        if !is_custom(&kind) {
            return Ok(resource(&kind, "v1"));
        }
        let mut pace = Pace::default();
        let mut missing = false;
        loop {
            // Before the look, so that no touch is missed.
            self.touched.borrow_and_update();
            match served(&self.client, &kind).await {
                // Of a definition that was just made the versions come one by one.
                Ok(Some(version)) if missing && version != best(&kind) => {
                    sleep(SETTLING).await;
                    if let Ok(Some(version)) = served(&self.client, &kind).await {
                        return Ok(resource(&kind, version));
                    }
                }
                Ok(Some(version)) => return Ok(resource(&kind, version)),
                Ok(None) if !missing => {
                    missing = true;
                    tracing::info!(%kind, group = kind.group(), "kind is not installed");
                    self.send(News::Listed(kind.clone(), BTreeSet::new()))
                        .await?;
                }
                Ok(None) => {}
                Err(cause) => {
                    let error = &cause as &dyn std::error::Error;
                    tracing::warn!(%kind, error, "cannot ask for the versions of a kind");
                }
            }
            if self.news.is_closed() {
                return Err(Unread);
            }
            if let Ok(Ok(())) = timeout(pace.next(), self.touched.changed()).await {
                // A definition is served a moment after it was stored.
                pace = Pace::default();
            }
        }
    }

    /// Lists and watches until the kind is gone or its history is.
    async fn follow(&mut self, resource: ApiResource) -> Result<(), Unread> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let config = watcher::Config {
            field_selector: self.target.fields.clone(),
            ..watcher::Config::default()
        };
        let events = watcher(api, config);
        let mut events = pin!(events);
        let mut pace = Pace::default();
        let mut listing: Option<BTreeSet<ObjectKey>> = None;
        loop {
            let next = match listing {
                Some(_) => match timeout(PAGE, events.next()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(()),
                },
                None => events.next().await,
            };
            let event = match next {
                None => return Ok(()),
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    let over = self.failed(&error);
                    if self.news.is_closed() {
                        return Err(Unread);
                    }
                    if over {
                        sleep(FIRST_PAUSE).await;
                        return Ok(());
                    }
                    pace.wait().await;
                    continue;
                }
            };
            match event {
                Event::Init => listing = Some(BTreeSet::new()),
                Event::InitDone => {
                    pace = Pace::default();
                    let there = listing.take().unwrap_or_default();
                    self.send(News::Listed(self.target.kind.clone(), there))
                        .await?;
                }
                Event::InitApply(object) => {
                    let (key, content) = read(&self.target.kind, &resource, object);
                    if let Some(listing) = &mut listing {
                        listing.insert(key.clone());
                    }
                    self.send(News::Object(key, content)).await?;
                }
                Event::Apply(object) => {
                    pace = Pace::default();
                    let (key, content) = read(&self.target.kind, &resource, object);
                    self.send(News::Object(key, content)).await?;
                }
                Event::Delete(object) => {
                    pace = Pace::default();
                    self.send(News::Gone(key(&self.target.kind, &object)))
                        .await?;
                }
            }
        }
    }

    /// Logs a failure; whether to begin anew instead of resuming.
    fn failed(&self, error: &watcher::Error) -> bool {
        let kind = &self.target.kind;
        // Not found: the kind may be gone. Gone: the server forgot the point to resume from.
        let over = is_watch_code(error, 404) || is_watch_code(error, 410) || is_no_event(error);
        let cause = error as &dyn std::error::Error;
        if is_watch_code(error, 403) || is_watch_code(error, 401) {
            tracing::error!(%kind, error = cause, "may not watch a kind");
        } else if over {
            tracing::info!(%kind, error = cause, "watch begins anew");
        } else {
            tracing::warn!(%kind, error = cause, "watch broke, resumes");
        }
        over
    }

    async fn send(&self, news: News) -> Result<(), Unread> {
        self.news.send(news).await.map_err(|_| Unread)
    }
}

fn is_watch_code(error: &watcher::Error, code: u16) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => is_code(error, code),
        watcher::Error::WatchError(status) => status.code == code,
        watcher::Error::NoResourceVersion => false,
    }
}

/// Where a kind is gone the server ends its watch with a page for people.
fn is_no_event(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchFailed(kube::Error::SerdeError(_))
    )
}

/// The best version that is served; `None` when the kind is not installed. Groups are asked for first:
/// to ask for a version that is not there is an error for the client's log.
async fn served(client: &Client, kind: &Kind) -> Result<Option<&'static str>, Cause> {
    let groups = answer(client.list_api_groups()).await?;
    let Some(group) = groups.groups.into_iter().find(|g| g.name == kind.group()) else {
        return Ok(None);
    };
    for version in kind.versions() {
        if group.versions.iter().all(|known| known.version != *version) {
            continue;
        }
        let name = format!("{}/{version}", kind.group());
        let list = match answer(client.list_api_group_resources(&name)).await {
            Err(Cause::Api(error)) if is_code(&error, 404) => continue,
            list => list?,
        };
        let plural = kind.plural();
        if list.resources.iter().any(|r| r.name == plural) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

fn best(kind: &Kind) -> &'static str {
    kind.versions().first().copied().unwrap_or("v1")
}

pub(super) async fn answer<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Cause> {
    match timeout(DEADLINE, request).await {
        Ok(done) => done.map_err(Cause::Api),
        Err(_) => Err(Cause::Deadline),
    }
}

fn key(kind: &Kind, object: &DynamicObject) -> ObjectKey {
    let meta = &object.metadata;
    ObjectKey::new(
        kind.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

pub(super) fn read(
    kind: &Kind,
    resource: &ApiResource,
    object: DynamicObject,
) -> (ObjectKey, Content) {
    let key = key(kind, &object);
    let content = match document(kind, resource, object) {
        Ok(value) => judge(value),
        Err(error) => bad(&key, error.to_string()),
    };
    // The server named it: an object that says it is another one is not used.
    let content = match content {
        Content::Good { object, .. } if object.key() != key => bad(&key, mismatch(&object)),
        content => content,
    };
    (key, content)
}

/// The object as a document: lists leave its type out.
fn document(
    kind: &Kind,
    resource: &ApiResource,
    object: DynamicObject,
) -> Result<Value, serde_json::Error> {
    let mut map = Map::new();
    map.insert("apiVersion".into(), resource.api_version.clone().into());
    map.insert("kind".into(), resource.kind.clone().into());
    let mut metadata = object.metadata;
    metadata.managed_fields = None;
    map.insert("metadata".into(), serde_json::to_value(metadata)?);
    if let Value::Object(data) = object.data {
        for (name, value) in data {
            map.entry(name).or_insert(value);
        }
    }
    trim(kind, &mut map);
    Ok(Value::Object(map))
}

fn mismatch(object: &Object) -> String {
    format!("says it is {}", object.key())
}

fn bad(key: &ObjectKey, reason: String) -> Content {
    Content::Bad {
        key: Some(key.clone()),
        errors: vec![FieldError {
            object: ObjectRef::from(key),
            path: String::new(),
            reason,
            code: Code::Document,
            severity: Severity::Error,
        }],
    }
}
