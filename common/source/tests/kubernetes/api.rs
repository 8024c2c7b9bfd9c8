//! An API server in memory: discovery, lists, watches with history, patches. It speaks the protocol
//! of the real one as far as the source uses it, and breaks where a test wants it to.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

type Reply = UnsyncBoxBody<Bytes, Infallible>;

/// A collection as paths name it, without namespaces: `api/v1/pods`.
type Collection = String;

#[derive(Default)]
struct State {
    version: u64,
    /// Oldest version a watch may begin after.
    oldest: u64,
    objects: BTreeMap<(Collection, String, String), Value>,
    history: Vec<(u64, Collection, &'static str, Value)>,
    /// `group/version` → plurals.
    groups: BTreeMap<String, Vec<String>>,
    /// Every request: method, path with query, body.
    requests: Vec<(String, String, Value)>,
    /// Patches that are answered with a conflict first.
    conflicts: usize,
}

#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    /// Counts breaks of all watches.
    broken: watch::Sender<u64>,
}

pub(crate) const CRDS: &str = "apis/apiextensions.k8s.io/v1/customresourcedefinitions";

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::channel(0).0,
            broken: watch::channel(0).0,
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        let meta = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
        let key = (collection.to_owned(), meta("namespace"), meta("name"));
        let mut state = self.state.lock().unwrap();
        let known = state.objects.contains_key(&key);
        let kind = if known { "MODIFIED" } else { "ADDED" };
        let stored = state.note(collection, kind, object);
        state.objects.insert(key, stored);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let mut state = self.state.lock().unwrap();
        let object = state.objects.remove(&key).expect("the object is there");
        state.note(collection, "DELETED", object);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Serves a custom kind, and says so as a definition does.
    pub(crate) fn install(&self, group_version: &str, plural: &str) {
        let (group, _) = group_version.split_once('/').unwrap();
        let mut state = self.state.lock().unwrap();
        let plurals = state.groups.entry(group_version.to_owned()).or_default();
        plurals.push(plural.to_owned());
        drop(state);
        self.put(
            CRDS,
            json!({"metadata": {"name": format!("{plural}.{group}")}}),
        );
    }

    /// Serves it no more. Its objects are not told one by one.
    pub(crate) fn uninstall(&self, group_version: &str, plural: &str) {
        let (group, _) = group_version.split_once('/').unwrap();
        let collection = format!("apis/{group_version}/{plural}");
        let mut state = self.state.lock().unwrap();
        state.groups.remove(group_version);
        state.objects.retain(|(c, _, _), _| *c != collection);
        drop(state);
        self.delete(CRDS, "", &format!("{plural}.{group}"));
    }

    /// Ends all watches.
    pub(crate) fn break_watches(&self) {
        self.broken.send_modify(|count| *count += 1);
    }

    /// Forgets the history, so that a watch cannot resume.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.oldest = state.version;
        state.history.clear();
    }

    pub(crate) fn conflict(&self, count: usize) {
        self.state.lock().unwrap().conflicts = count;
    }

    /// Requests of a method so far: path with query, and body.
    pub(crate) fn requests(&self, method: &str) -> Vec<(String, Value)> {
        let state = self.state.lock().unwrap();
        let of = state.requests.iter().filter(|(m, _, _)| m == method);
        of.map(|(_, path, body)| (path.clone(), body.clone()))
            .collect()
    }

    pub(crate) fn object(&self, collection: &str, namespace: &str, name: &str) -> Value {
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        self.state
            .lock()
            .unwrap()
            .objects
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let uri = parts.uri.path_and_query().unwrap().to_string();
        let mut state = self.state.lock().unwrap();
        let noted = (parts.method.to_string(), uri, body.clone());
        state.requests.push(noted);
        let path = parts.uri.path().trim_matches('/').to_owned();
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
                .into_owned()
                .collect();
        if let Some(found) = state.discovery(&path) {
            return found;
        }
        let Some(place) = Place::parse(&path) else {
            return failure(StatusCode::NOT_FOUND);
        };
        if !state.serves(&place.collection) {
            return failure(StatusCode::NOT_FOUND);
        }
        match (parts.method, &place.name) {
            (Method::GET, None) if query.contains_key("watch") => {
                drop(state);
                self.watch(place.collection, &query)
            }
            (Method::GET, None) => {
                let label = query.get("labelSelector").map(|label| label.as_str());
                reply(StatusCode::OK, &state.list(&place, label))
            }
            (Method::GET, Some(_)) => match state.objects.get(&place.key()) {
                Some(object) => reply(StatusCode::OK, object),
                None => failure(StatusCode::NOT_FOUND),
            },
            (Method::PATCH, Some(_)) if state.conflicts > 0 => {
                state.conflicts -= 1;
                failure(StatusCode::CONFLICT)
            }
            (Method::PATCH, Some(_)) => {
                let Some(mut object) = state.objects.get(&place.key()).cloned() else {
                    return failure(StatusCode::NOT_FOUND);
                };
                object["status"] = body["status"].clone();
                drop(state);
                self.put(&place.collection, object.clone());
                reply(StatusCode::OK, &object)
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// Events after a version, until the watches are broken.
    fn watch(&self, collection: Collection, query: &BTreeMap<String, String>) -> Response<Reply> {
        let after: u64 = query["resourceVersion"].parse().unwrap();
        let (api, changed) = (self.clone(), self.changed.subscribe());
        let mut broken = self.broken.subscribe();
        broken.mark_unchanged();
        let seed = (after, changed, broken, false);
        let lines = stream::unfold(seed, move |(after, mut changed, mut broken, over)| {
            let (api, collection) = (api.clone(), collection.clone());
            async move {
                if over {
                    return None;
                }
                loop {
                    changed.borrow_and_update();
                    if let Some((version, line, over)) = api.next(&collection, after) {
                        return Some((line, (version, changed, broken, over)));
                    }
                    tokio::select! {
                        _ = broken.changed() => return None,
                        _ = changed.changed() => {}
                    }
                }
            }
        });
        let frames = lines.map(|line| Ok(http_body::Frame::data(Bytes::from(line))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    /// The first event after a version, and whether the watch is over with it.
    fn next(&self, collection: &str, after: u64) -> Option<(u64, String, bool)> {
        let state = self.state.lock().unwrap();
        if after < state.oldest || !state.serves(collection) {
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
                "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}});
            return Some((after, format!("{gone}\n"), true));
        }
        let event = state
            .history
            .iter()
            .find(|(version, c, _, _)| *version > after && c == collection);
        let (version, _, kind, object) = event?;
        let line = json!({"type": kind, "object": object});
        Some((*version, format!("{line}\n"), false))
    }
}

impl State {
    fn note(&mut self, collection: &str, kind: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let event = (self.version, collection.to_owned(), kind, object.clone());
        self.history.push(event);
        object
    }

    fn discovery(&self, path: &str) -> Option<Response<Reply>> {
        if path == "apis" {
            let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
            for name in self.groups.keys() {
                let (group, version) = name.split_once('/').unwrap();
                let listed = groups.entry(group).or_default();
                listed.push(json!({"groupVersion": name, "version": version}));
            }
            let groups: Vec<Value> = groups
                .into_iter()
                .map(|(name, versions)| json!({"name": name, "versions": versions}))
                .collect();
            let list = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            return Some(reply(StatusCode::OK, &list));
        }
        let name = path.strip_prefix("apis/")?;
        let plurals = self.groups.get(name)?;
        let resources: Vec<Value> = plurals
            .iter()
            .map(|plural| {
                json!({"name": plural, "singularName": "", "namespaced": true, "kind": "X",
                    "verbs": ["list", "watch"]})
            })
            .collect();
        let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name,
            "resources": resources});
        Some(reply(StatusCode::OK, &list))
    }

    fn serves(&self, collection: &str) -> bool {
        let Some(rest) = collection.strip_prefix("apis/") else {
            return true;
        };
        let (group, plural) = rest.rsplit_once('/').unwrap();
        let custom = !group.starts_with("discovery.k8s.io") && collection != CRDS;
        !custom
            || self
                .groups
                .get(group)
                .is_some_and(|p| p.iter().any(|p| p == plural))
    }

    /// Of the namespace, if one is named; with the label, if one is asked for by its key.
    fn list(&self, place: &Place, label: Option<&str>) -> Value {
        let is_there = |namespace: &str| place.namespace.is_empty() || place.namespace == namespace;
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((c, namespace, _), _)| *c == place.collection && is_there(namespace))
            .map(|(_, object)| object)
            .filter(|object| label.is_none_or(|key| object["metadata"]["labels"][key].is_string()))
            .collect();
        json!({"kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }
}

/// What a path names.
struct Place {
    collection: Collection,
    namespace: String,
    name: Option<String>,
}

impl Place {
    fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.split('/').collect();
        let depth = if parts[0] == "api" { 2 } else { 3 };
        let mut rest = parts.split_off(depth.min(parts.len()));
        let mut namespace = String::new();
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            namespace = rest[1].to_owned();
            rest.drain(..2);
        }
        let plural = rest.first()?;
        Some(Self {
            collection: format!("{}/{plural}", parts.join("/")),
            namespace,
            name: rest.get(1).map(|name| (*name).to_owned()),
        })
    }

    fn key(&self) -> (Collection, String, String) {
        let name = self.name.clone().unwrap_or_default();
        (self.collection.clone(), self.namespace.clone(), name)
    }
}

fn reply(status: StatusCode, value: &Value) -> Response<Reply> {
    let mut response = Response::new(Full::from(value.to_string()).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn failure(status: StatusCode) -> Response<Reply> {
    let reason = status.canonical_reason().unwrap();
    let value = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": reason, "reason": reason.replace(' ', ""), "code": status.as_u16()});
    reply(status, &value)
}
