//! An API server as far as an agent can tell: lists, watches, one patch, two reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Objects, and everything that happened to them.
#[derive(Debug)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    version: Arc<watch::Sender<usize>>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// By path of the object.
    objects: BTreeMap<String, Value>,
    /// Collection, type and object; the index is the resource version minus one.
    log: Vec<(String, &'static str, Value)>,
    /// Requests by method and path.
    requests: Vec<String>,
}

pub(crate) const DAEMON_SET: &str =
    "/apis/apps/v1/namespaces/istio-system/daemonsets/ambit-cni-node";

impl Api {
    pub(crate) fn serve(listener: TcpListener) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let version = Arc::new(watch::Sender::new(0));
        let mut server = JoinSet::new();
        let (shared, changes) = (state.clone(), version.clone());
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(connection(stream, shared.clone(), changes.clone()));
            }
        });
        Self {
            state,
            version,
            _server: server,
        }
    }

    /// Creates or replaces.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        let known = state.objects.contains_key(path);
        state.record(path, if known { "MODIFIED" } else { "ADDED" }, object);
        self.version.send_replace(state.log.len());
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        change(&mut object);
        self.put(path, object);
    }

    pub(crate) fn delete(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        let object = state.objects.remove(path).unwrap();
        state.record(path, "DELETED", object);
        state.objects.remove(path);
        self.version.send_replace(state.log.len());
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Methods and paths that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl State {
    fn record(&mut self, path: &str, what: &'static str, mut object: Value) {
        let version = self.log.len() + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        self.log.push((collection(path), what, object));
    }
}

/// `/api/v1/namespaces/shop/pods/web` is in `/api/v1/pods`.
fn collection(path: &str) -> String {
    let parent = path.rsplit_once('/').unwrap().0;
    match parent.split_once("/namespaces/") {
        Some((root, rest)) => format!("{root}/{}", rest.split_once('/').unwrap().1),
        None => parent.to_owned(),
    }
}

async fn connection(
    stream: TcpStream,
    state: Arc<Mutex<State>>,
    version: Arc<watch::Sender<usize>>,
) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.is_err() || line.is_empty() {
        return;
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap().to_owned();
    let target = words.next().unwrap().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.unwrap();
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{method} {path}?{query}"));
    }
    if query.split('&').any(|pair| pair == "watch=true") {
        follow(stream.into_inner(), path, query, &state, &version).await;
        return;
    }
    let (status, answer) = match method.as_str() {
        "GET" => read(&state, path),
        "PATCH" => patch(&state, path, &body, &version),
        other => panic!("{other} {path}"),
    };
    let text = answer.to_string();
    let reply = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    // The agent may have been killed.
    let _ = stream.write_all(reply.as_bytes()).await;
}

fn read(state: &Mutex<State>, path: &str) -> (u16, Value) {
    let state = state.lock().unwrap();
    if path == "/api/v1/pods" || path == "/api/v1/namespaces" {
        let objects = state.objects.iter();
        let items: Vec<_> = objects
            .filter(|(object, _)| collection(object) == path)
            .map(|(_, object)| object)
            .collect();
        let version = state.log.len().to_string();
        let list = json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"resourceVersion": version}, "items": items,
        });
        return (200, list);
    }
    match state.objects.get(path) {
        Some(object) => (200, object.clone()),
        None => (404, failure(404)),
    }
}

fn patch(
    state: &Mutex<State>,
    path: &str,
    body: &[u8],
    version: &watch::Sender<usize>,
) -> (u16, Value) {
    let patch: Value = serde_json::from_slice(body).unwrap();
    let path = path.strip_suffix("/status").expect("only statuses");
    let mut state = state.lock().unwrap();
    let Some(mut object) = state.objects.get(path).cloned() else {
        return (404, failure(404));
    };
    if patch["metadata"]["uid"] != object["metadata"]["uid"] {
        return (409, failure(409));
    }
    let annotations = object["metadata"]
        .as_object_mut()
        .unwrap()
        .entry("annotations")
        .or_insert_with(|| json!({}));
    for (key, value) in patch["metadata"]["annotations"].as_object().unwrap() {
        let annotations = annotations.as_object_mut().unwrap();
        if value.is_null() {
            annotations.remove(key);
        } else {
            annotations.insert(key.clone(), value.clone());
        }
    }
    state.record(path, "MODIFIED", object.clone());
    version.send_replace(state.log.len());
    (200, object)
}

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": reason})
}

async fn follow(
    mut stream: TcpStream,
    path: &str,
    query: &str,
    state: &Mutex<State>,
    version: &watch::Sender<usize>,
) {
    let from = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("resourceVersion="));
    let mut next: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
    let mut changes = version.subscribe();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let mut text = head.to_owned();
    loop {
        {
            let state = state.lock().unwrap();
            for (collection, what, object) in &state.log[next.min(state.log.len())..] {
                if collection == path {
                    let event = json!({"type": what, "object": object});
                    text.push_str(&format!("{event}\n"));
                }
            }
            next = state.log.len();
        }
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        text.clear();
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // Nothing is sent on a watch: this is its end.
            _ = stream.readable() => {
                let mut nothing = [0; 1];
                if matches!(stream.try_read(&mut nothing), Ok(0)) {
                    return;
                }
            }
        }
    }
}
