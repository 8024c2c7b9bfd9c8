//! Readiness probes, as the kubelet makes them: from a process of the node.
//! In: probe requests, one JSON line each, on standard input. Out: one JSON line each, in any order.
//! Owns: a process in the node's namespace and cgroup. The mesh tells a probe from traffic by where the
//! socket was made, so the lab's own process cannot probe.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::fetch;
use crate::launch::Place;
use crate::process::{Process, SpawnError, Spawner, Spec};

/// What to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Where
    pub to: SocketAddr,
    /// Path of an HTTP probe; a TCP probe has none
    pub path: Option<String>,
    /// How long it may take, in milliseconds
    pub timeout_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Ask {
    id: u64,
    probe: Probe,
}

#[derive(Serialize, Deserialize)]
struct Told {
    id: u64,
    /// Empty when it succeeded
    failure: String,
}

type Reply = oneshot::Sender<Result<(), String>>;

/// A node's prober.
#[derive(Clone)]
pub struct Prober {
    asks: mpsc::Sender<(Probe, Reply)>,
}

impl Prober {
    /// Starts the process at `place`; its task is added to `tasks`.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn start(
        spawner: &Spawner,
        place: Place,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, SpawnError> {
        let spec = Spec::new(spawner.launcher(), ["prober"]).at(place);
        let process = spawner.spawn(spec).await?;
        let (asks, inbox) = mpsc::channel(256);
        tasks.spawn(talk(process, inbox));
        Ok(Self { asks })
    }

    /// Makes one probe.
    ///
    /// # Errors
    /// Why it failed, in words.
    pub async fn probe(&self, probe: Probe) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let gone = || "the prober is gone".to_owned();
        self.asks.send((probe, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn talk(mut process: Process, mut inbox: mpsc::Receiver<(Probe, Reply)>) {
    let (Some(mut stdin), Some(stdout)) = (process.child.stdin.take(), process.child.stdout.take())
    else {
        return;
    };
    let mut waiting: HashMap<u64, Reply> = HashMap::new();
    let mut lines = BufReader::new(stdout).lines();
    let mut id = 0;
    loop {
        tokio::select! {
            ask = inbox.recv() => {
                let Some((probe, reply)) = ask else { return };
                id += 1;
                waiting.insert(id, reply);
                let Ok(mut line) = serde_json::to_vec(&Ask { id, probe }) else { continue };
                line.push(b'\n');
                if stdin.write_all(&line).await.is_err() {
                    return;
                }
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let Ok(told) = serde_json::from_str::<Told>(&line) else { continue };
                if let Some(reply) = waiting.remove(&told.id) {
                    let result = if told.failure.is_empty() { Ok(()) } else { Err(told.failure) };
                    let _ = reply.send(result);
                }
            }
        }
    }
}

/// The process: `ambit-lab prober`. Ends with its standard input.
///
/// # Errors
/// Broken pipes.
pub async fn run() -> anyhow::Result<()> {
    let input = pipe::Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut out = pipe::Sender::from_owned_fd(std::io::stdout().as_fd().try_clone_to_owned()?)?;
    let mut lines = BufReader::new(input).lines();
    let mut probes = JoinSet::new();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let ask: Ask = serde_json::from_str(&line)?;
                probes.spawn(async move {
                    let failure = attempt(&ask.probe).await.err().unwrap_or_default();
                    Told { id: ask.id, failure }
                });
            }
            Some(told) = probes.join_next() => {
                let mut line = serde_json::to_vec(&told?)?;
                line.push(b'\n');
                out.write_all(&line).await?;
            }
        }
    }
}

async fn attempt(probe: &Probe) -> Result<(), String> {
    let limit = Duration::from_millis(probe.timeout_ms);
    tokio::time::timeout(limit, exchange(probe))
        .await
        .map_err(|_| "timeout".to_owned())?
}

async fn exchange(probe: &Probe) -> Result<(), String> {
    let stream = TcpStream::connect(probe.to)
        .await
        .map_err(|e| e.to_string())?;
    let Some(path) = &probe.path else {
        return Ok(());
    };
    let request = Request::get(path)
        .header(http::header::HOST, probe.to.to_string())
        .header(http::header::USER_AGENT, "kube-probe/1.34")
        .header(http::header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|e| e.to_string())?;
    let answer = fetch::exchange(stream, request)
        .await
        .map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("status {status}"))
    }
}
