//! Traffic of the `curl` sample.
//! In: URLs. Out: statuses and bodies; a stream of requests while something else happens; a connection
//! that is held. Owns the processes it starts: they end with the value.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command::ended;
use crate::site::Site;

/// An answer that was not given after this will not be.
const PATIENCE: &str = "10";
const HELD_PATIENCE: Duration = Duration::from_secs(20);
/// Where the stream of requests learns that it is enough.
const ENOUGH: &str = "/tmp/enough";

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `000` if no answer came
    pub(crate) status: String,
    pub(crate) body: String,
}

/// One request of a namespace's `curl`, with further arguments.
pub(crate) fn ask(site: &Site, namespace: &str, url: &str, more: &[&str]) -> Result<Answer> {
    let namespace = format!("--namespace={namespace}");
    let mut command = site.kubectl_command(&["exec", &namespace, "deploy/curl", "--"])?;
    command
        .args(["curl", "-s", "--max-time", PATIENCE, "-w", "\n%{http_code}"])
        .args(more)
        .arg(url);
    let output = ended(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').with_context(|| {
        format!(
            "curl {url}: {text:?} {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok(Answer {
        status: status.to_owned(),
        body: body.to_owned(),
    })
}

/// Requests without a pause, each on a connection of its own.
pub(crate) struct Stream<'a> {
    site: &'a Site,
    child: Option<Child>,
}

impl<'a> Stream<'a> {
    /// Starts, and waits until the first one was answered.
    pub(crate) fn start(site: &'a Site, url: &str) -> Result<Self> {
        let one = format!("curl -s -o /dev/null -w '%{{http_code}} ' --max-time {PATIENCE} {url}");
        let script = format!("while [ ! -s {ENOUGH} ]; do {one}; done");
        site.kubectl(&[
            "exec",
            "deploy/curl",
            "--",
            "sh",
            "-c",
            &format!(": > {ENOUGH}"),
        ])?;
        let mut command =
            site.kubectl_command(&["exec", "deploy/curl", "--", "sh", "-c", &script])?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a stream of requests")?;
        let stream = Self {
            site,
            child: Some(child),
        };
        let first = ask(site, "default", url, &[])?;
        ensure!(first.status == "200", "{url} before the stream: {first:?}");
        Ok(stream)
    }

    /// Ends it: how many requests there were. Each must have been answered with 200.
    pub(crate) fn all_answered(mut self) -> Result<usize> {
        let child = self.child.take().context("it runs")?;
        self.enough()?;
        let output = child.wait_with_output().context("wait for the requests")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let statuses: Vec<&str> = text.split_whitespace().collect();
        ensure!(statuses.len() > 1, "no stream of requests: {text:?}");
        ensure!(
            statuses.iter().all(|status| *status == "200"),
            "not every request was answered: {text}"
        );
        Ok(statuses.len())
    }

    fn enough(&self) -> Result<()> {
        let script = format!("echo > {ENOUGH}");
        self.site
            .kubectl(&["exec", "deploy/curl", "--", "sh", "-c", &script])
            .map(drop)
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The cluster goes anyway when a test fails.
            let _ = self.enough();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection of the `curl` pod that stays open between requests.
pub(crate) struct Held {
    child: Child,
    answers: Receiver<Vec<u8>>,
    host: String,
}

impl Held {
    /// Opens it and has one request answered on it.
    pub(crate) fn open(site: &Site, host: &str, port: u16) -> Result<Self> {
        let port = port.to_string();
        let mut command: Command =
            site.kubectl_command(&["exec", "--stdin", "deploy/curl", "--", "nc", host, &port])?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start nc")?;
        let mut stdout = child.stdout.take().context("a pipe")?;
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut held = Self {
            child,
            answers,
            host: host.to_owned(),
        };
        held.ask().context("before anything happened")?;
        Ok(held)
    }

    /// One more request on it.
    pub(crate) fn ask(&mut self) -> Result<()> {
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        let stdin = self.child.stdin.as_mut().context("a pipe")?;
        stdin
            .write_all(request.as_bytes())
            .context("write to the held connection")?;
        stdin.flush()?;
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("healthy") {
            let more = self.answers.recv_timeout(HELD_PATIENCE);
            let more = more.with_context(|| {
                format!(
                    "the held connection says only {:?}",
                    String::from_utf8_lossy(&answer)
                )
            })?;
            answer.extend(more);
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
