//! An API server in memory, on a loopback port: objects with versions, lists, watches, server-side
//! apply, Leases and Secrets that conflict, TokenReviews. It stores what it is given and validates
//! nothing.

use ambit_runtime::tasks::{self, Task};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

type Reply = UnsyncBoxBody<Bytes, Infallible>;

const GROUPS: [(&str, &str, &[&str]); 3] = [
    (
        "gateway.networking.k8s.io",
        "v1",
        &["gateways", "httproutes"],
    ),
    (
        "networking.istio.io",
        "v1",
        &["virtualservices", "destinationrules"],
    ),
    (
        "security.istio.io",
        "v1",
        &["authorizationpolicies", "peerauthentications"],
    ),
];

#[derive(Default)]
struct State {
    version: u64,
    /// By path.
    objects: BTreeMap<String, Value>,
    /// Version, collection, kind of event, object.
    history: Vec<(u64, String, &'static str, Value)>,
    /// Method and path of every request that writes.
    writes: Vec<(String, String)>,
    /// Token → status of its review.
    tokens: BTreeMap<String, Value>,
    reviews: usize,
}

/// The server. Dropping the last clone of its task ends it.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    addr: SocketAddr,
}

impl Api {
    pub(crate) async fn start() -> (Self, Task<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let api = Self {
            state: Arc::default(),
            changed: watch::channel(0).0,
            addr: listener.local_addr().unwrap(),
        };
        let serving = api.clone();
        let task = tasks::spawn("api server", async move { serving.serve(listener).await });
        (api, task)
    }

    async fn serve(self, listener: TcpListener) {
        let mut connections = tasks::TaskGroup::new("api connections");
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let api = self.clone();
            connections.spawn("api connection", async move {
                let service = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is no failure of the test.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\n",
            self.addr
        )
    }

    /// Stores an object at the path of its collection.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.state
            .lock()
            .unwrap()
            .store(&format!("{collection}/{name}"), object);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.state.lock().unwrap().remove(path);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Changes an object, if it is there.
    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        if let Some(mut object) = state.objects.get(path).cloned() {
            change(&mut object);
            state.store(path, object);
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Every object of a collection.
    pub(crate) fn all(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let within = |path: &&String| path.starts_with(&format!("{collection}/"));
        let paths = state.objects.keys().filter(within);
        paths.map(|path| state.objects[path].clone()).collect()
    }

    pub(crate) fn accept_token(&self, token: &str, status: Value) {
        let mut state = self.state.lock().unwrap();
        state.tokens.insert(token.to_owned(), status);
    }

    pub(crate) fn reviews(&self) -> usize {
        self.state.lock().unwrap().reviews
    }

    /// Method and path of every write so far.
    pub(crate) fn writes(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().writes.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return failure(StatusCode::BAD_REQUEST);
        };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let path = parts.uri.path().trim_matches('/').to_owned();
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
                .into_owned()
                .collect();
        let mut state = self.state.lock().unwrap();
        if parts.method != Method::GET {
            let write = (parts.method.to_string(), path.clone());
            state.writes.push(write);
        }
        let reply = match parts.method {
            Method::GET if query.contains_key("watch") => {
                drop(state);
                return self.watch(path, &query);
            }
            Method::GET => state.get(&path),
            Method::POST => state.create(&path, body),
            Method::PUT => state.replace(&path, body),
            Method::PATCH => state.patch(&path, &body),
            Method::DELETE => state.remove(&path),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        };
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        reply
    }

    fn watch(&self, collection: String, query: &BTreeMap<String, String>) -> Response<Reply> {
        let after: u64 = query["resourceVersion"].parse().unwrap();
        let name = query.get("fieldSelector").cloned();
        let name = name.and_then(|text| Some(text.strip_prefix("metadata.name=")?.to_owned()));
        let seed = (after, self.changed.subscribe());
        let api = self.clone();
        let lines = stream::unfold(seed, move |(after, mut changed)| {
            let (api, collection, name) = (api.clone(), collection.clone(), name.clone());
            async move {
                loop {
                    changed.borrow_and_update();
                    let next = api.next((&collection, name.as_deref()), after);
                    if let Some((version, line)) = next {
                        return Some((line, (version, changed)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        let frames = lines.map(|line| Ok(http_body::Frame::data(Bytes::from(line))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn next(&self, (collection, name): (&str, Option<&str>), after: u64) -> Option<(u64, String)> {
        let state = self.state.lock().unwrap();
        let mut later = state
            .history
            .iter()
            .filter(|(version, ..)| *version > after);
        let is_asked = |object: &Value| name.is_none_or(|n| object["metadata"]["name"] == n);
        let (version, _, kind, object) =
            later.find(|(_, c, _, object)| c == collection && is_asked(object))?;
        let line = json!({"type": kind, "object": object});
        Some((*version, format!("{line}\n")))
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let kind = match self.objects.get(path) {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"].get("uid").is_none() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(path, kind, &object);
        object
    }

    fn tell(&mut self, path: &str, kind: &'static str, object: &Value) {
        // Lists and watches here are of all namespaces.
        let event = (self.version, collection(path), kind, object.clone());
        self.history.push(event);
    }

    fn get(&self, path: &str) -> Response<Reply> {
        if let Some(found) = discovery(path) {
            return reply(StatusCode::OK, &found);
        }
        if let Some(object) = self.objects.get(path) {
            return reply(StatusCode::OK, object);
        }
        if is_object(path) {
            return failure(StatusCode::NOT_FOUND);
        }
        let of = |(p, _): &(&String, &Value)| collection(p) == path;
        let items: Vec<&Value> = self.objects.iter().filter(of).map(|(_, o)| o).collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        let list =
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
        reply(StatusCode::OK, &list)
    }

    fn create(&mut self, path: &str, mut object: Value) -> Response<Reply> {
        if path.ends_with("tokenreviews") {
            self.reviews += 1;
            let token = object["spec"]["token"].as_str().unwrap_or_default();
            let unknown = json!({"authenticated": false, "error": "not known"});
            object["status"] = self.tokens.get(token).cloned().unwrap_or(unknown);
            return reply(StatusCode::CREATED, &object);
        }
        if let Some(begin) = object["metadata"]["generateName"].as_str() {
            object["metadata"]["name"] = format!("{begin}{}", self.version).into();
        }
        let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&path) {
            return failure(StatusCode::CONFLICT);
        }
        reply(StatusCode::CREATED, &self.store(&path, object))
    }

    fn replace(&mut self, path: &str, object: Value) -> Response<Reply> {
        let Some(now) = self.objects.get(path) else {
            return failure(StatusCode::NOT_FOUND);
        };
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(now) != version(&object) {
            return failure(StatusCode::CONFLICT);
        }
        reply(StatusCode::OK, &self.store(path, object))
    }

    /// Both kinds of patch are a merge here; only an apply of the object itself may create it.
    fn patch(&mut self, path: &str, patch: &Value) -> Response<Reply> {
        let part = ["/status", "/approval"];
        let whole = part.iter().find_map(|part| path.strip_suffix(part));
        let (path, creates) = (whole.unwrap_or(path), whole.is_none());
        let Some(mut object) = self.objects.get(path).cloned().or_else(|| {
            let empty = Value::Object(Map::new());
            creates.then_some(empty)
        }) else {
            return failure(StatusCode::NOT_FOUND);
        };
        let asked = &patch["metadata"]["resourceVersion"];
        if !asked.is_null() && object["metadata"]["resourceVersion"] != *asked {
            return failure(StatusCode::CONFLICT);
        }
        merge(&mut object, patch);
        reply(StatusCode::OK, &self.store(path, object))
    }

    fn remove(&mut self, path: &str) -> Response<Reply> {
        let Some(mut object) = self.objects.remove(path) else {
            return failure(StatusCode::NOT_FOUND);
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(path, "DELETED", &object);
        reply(StatusCode::OK, &object)
    }
}

fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    for (key, value) in patch {
        merge(&mut base[key], value);
    }
}

fn discovery(path: &str) -> Option<Value> {
    if path == "apis" {
        let group = |(group, version, _): &(&str, &str, &[&str])| {
            let name = format!("{group}/{version}");
            json!({"name": group, "versions": [{"groupVersion": name, "version": version}]})
        };
        let groups: Vec<Value> = GROUPS.iter().map(group).collect();
        return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
    }
    let (_, _, plurals) = GROUPS
        .iter()
        .find(|(group, version, _)| path == format!("apis/{group}/{version}"))?;
    let resource = |plural: &&str| json!({"name": plural, "singularName": "", "namespaced": true, "kind": "X", "verbs": []});
    let resources: Vec<Value> = plurals.iter().map(resource).collect();
    let name = path.strip_prefix("apis/")?;
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name,
        "resources": resources}),
    )
}

/// Parts of a path after its API version.
fn parts(path: &str) -> (usize, Vec<&str>) {
    let all: Vec<&str> = path.split('/').collect();
    let depth = if all[0] == "api" { 2 } else { 3 };
    (depth, all)
}

fn is_object(path: &str) -> bool {
    let (depth, all) = parts(path);
    match all.get(depth) {
        Some(&"namespaces") if all.len() > depth + 2 => all.len() == depth + 4,
        _ => all.len() == depth + 2,
    }
}

/// The collection of all namespaces that an object is in.
fn collection(path: &str) -> String {
    let (depth, all) = parts(path);
    let plural = match all.get(depth) {
        Some(&"namespaces") if all.len() > depth + 2 => all[depth + 2],
        Some(plural) => plural,
        None => "",
    };
    format!("{}/{plural}", all[..depth].join("/"))
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
