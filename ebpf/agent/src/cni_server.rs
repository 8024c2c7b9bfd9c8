//! The unix socket the CNI plugin asks on.
//! In: HTTP requests of the plugin. Out: `Event::Cni` with a way back; 200 or a refusal.
//! Owns the socket file and one task per connection. Must not happen here: an answer before the reconcile task's.
//! Spec: `ambit_cni::wire`.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ambit_cni::Code;
use ambit_cni::wire::{self, MAX_BODY, Refusal, Request};
use ambit_runtime::tasks::TaskGroup;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::events::{CniCall, CniCommand, Event};

/// A bound socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}")]
pub struct BindError {
    /// Where.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Server {
    /// Binds the socket for root only, in place of one a former agent left.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError {
            path: path.to_owned(),
            source,
        };
        Ok(Self {
            listener: bind_in_place(path).map_err(failed)?,
            path: path.to_owned(),
        })
    }

    /// Serves until dropped.
    pub async fn serve(self, events: mpsc::Sender<Event>) {
        let mut connections = TaskGroup::new("cni");
        loop {
            let accepted = self.listener.accept().await;
            connections.reap();
            match accepted {
                Ok(_) if connections.len() >= MAX_CONNECTIONS => {
                    tracing::warn!("cni request refused: too many at once");
                }
                Ok((stream, _)) => {
                    connections.spawn("cni request", connection(stream, events.clone()))
                }
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "cni accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn bind_in_place(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut staging = path.as_os_str().to_owned();
    staging.push(format!(".{}", std::process::id()));
    let staging = PathBuf::from(staging);
    match fs::remove_file(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&staging)?;
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o600))?;
    fs::rename(&staging, path)?;
    Ok(listener)
}

async fn connection(stream: UnixStream, events: mpsc::Sender<Event>) {
    let service = service_fn(move |request| {
        let events = events.clone();
        async move { Ok::<_, Infallible>(answer(request, &events).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "cni connection ended");
    }
}

async fn answer(
    request: http::Request<Incoming>,
    events: &mpsc::Sender<Event>,
) -> Response<Full<Bytes>> {
    let command = match (request.method(), request.uri().path()) {
        (&Method::POST, wire::ADD) => CniCommand::Add,
        (&Method::POST, wire::DEL) => CniCommand::Del,
        (&Method::POST, wire::CHECK) => CniCommand::Check,
        _ => {
            return refuse(
                StatusCode::NOT_FOUND,
                &refusal(Code::Decode, "no such command", ""),
            );
        }
    };
    let request = match read(request).await {
        Ok(request) => request,
        Err(details) => {
            let refusal = refusal(Code::Decode, "the request is not understood", &details);
            return refuse(StatusCode::BAD_REQUEST, &refusal);
        }
    };
    match ask(command, request, events).await {
        Ok(()) => respond(StatusCode::OK, Bytes::from_static(b"{}")),
        Err(refusal) => refuse(StatusCode::SERVICE_UNAVAILABLE, &refusal),
    }
}

async fn read(request: http::Request<Incoming>) -> Result<Request, String> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = timeout(READ_TIMEOUT, body)
        .await
        .map_err(|_| "the body does not come".to_owned())?
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

async fn ask(
    command: CniCommand,
    request: Request,
    events: &mpsc::Sender<Event>,
) -> Result<(), Refusal> {
    let (reply, answer) = oneshot::channel();
    let call = CniCall {
        command,
        request,
        reply,
    };
    let asked = async {
        events.send(Event::Cni(call)).await.ok()?;
        answer.await.ok()
    };
    match timeout(DEADLINE, asked).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(refusal(Code::TryAgain, "the agent is stopping", "")),
        Err(_) => Err(refusal(Code::TryAgain, "the agent is too busy", "")),
    }
}

fn refusal(code: Code, msg: &str, details: &str) -> Refusal {
    Refusal {
        code: code as u32,
        msg: msg.into(),
        details: details.into(),
    }
}

fn refuse(status: StatusCode, refusal: &Refusal) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(refusal).expect("numbers and strings always serialize");
    respond(status, body.into())
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The plugin waits ten seconds, the reconcile task refuses after eight.
const DEADLINE: Duration = Duration::from_millis(9500);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A node rarely starts more pods at once; the runtime repeats what is refused.
const MAX_CONNECTIONS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn exchange(path: &Path, message: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(message.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    fn post(path: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn requests_reach_the_reconcile_task_and_its_answer_the_plugin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.sock");
        let server = Server::bind(&path).unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let mut tasks = TaskGroup::new("test");
        tasks.spawn("server", server.serve(sender));
        tasks.spawn("reconcile", async move {
            while let Some(Event::Cni(call)) = events.recv().await {
                let answer = match call.command {
                    CniCommand::Add => Err(refusal(Code::TryAgain, "later", &call.request.name)),
                    _ => Ok(()),
                };
                call.reply.send(answer).unwrap();
            }
        });
        let body = r#"{"containerId":"c","netns":"/n","namespace":"shop","name":"web","ips":["10.0.0.1"]}"#;
        let added = exchange(&path, &post("/cni/add", body)).await;
        assert!(added.starts_with("HTTP/1.1 503"), "{added}");
        assert!(
            added.ends_with(r#"{"code":11,"msg":"later","details":"web"}"#),
            "{added}"
        );
        assert!(
            exchange(&path, &post("/cni/del", body))
                .await
                .starts_with("HTTP/1.1 200")
        );
        assert!(
            exchange(&path, &post("/cni/add", "[]"))
                .await
                .starts_with("HTTP/1.1 400")
        );
        assert!(
            exchange(&path, &post("/other", body))
                .await
                .starts_with("HTTP/1.1 404")
        );
        let long = format!("\"{}\"", "x".repeat(MAX_BODY));
        assert!(
            exchange(&path, &post("/cni/add", &long))
                .await
                .starts_with("HTTP/1.1 400")
        );
    }
}
