//! Requests without a pause, each on a connection of its own, from a pod of the mesh.
//! Owns the process that makes them; it ends with the value. An answer counts when its line is here.

use ambit_cluster::{Directory, kubectl};
use anyhow::{Context as _, Result};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout_at;

/// What is not seen after this will not be.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of requests.
pub(crate) struct Requests {
    _child: Child,
    answers: Lines<BufReader<ChildStderr>>,
}

impl Requests {
    /// Starts asking a service of the scene.
    pub(crate) fn start(directory: &Directory, service: &str) -> Result<Self> {
        let mut command = Command::from(kubectl(directory)?);
        let url = format!("http://{service}:5000/hello?[1-100000000]");
        // What is written to the error output is not held back.
        let form = "%{stderr}%{http_code} %header{x-bench}\n";
        command
            .args(["exec", "--namespace=effect", "deploy/curl", "--", "curl"])
            .args(["-s", "--max-time", "5", "-o", "/dev/null", "-w", form])
            .args(["-H", "Connection: close", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("start requests")?;
        let answers = child.stderr.take().context("its answers")?;
        Ok(Self {
            _child: child,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// When the first answer came that is so.
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) -> Result<Instant> {
        let end = Instant::now() + PATIENCE;
        let mut last = String::new();
        loop {
            let line = timeout_at(end.into(), self.answers.next_line()).await;
            let line = line.with_context(|| format!("no answer with {what}; the last: {last}"))?;
            last = line
                .context("read an answer")?
                .with_context(|| format!("requests ended; the last: {last}"))?;
            if is(&last) {
                return Ok(Instant::now());
            }
        }
    }
}
