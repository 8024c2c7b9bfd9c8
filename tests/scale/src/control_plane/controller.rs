//! The controller under measurement: a process of its own, with the administrator's kubeconfig.
//! Owns the process: it ends with the value.

use super::fill::SYSTEM;
use ambit_cluster::Directory;
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where xDS is served.
pub(crate) const XDS: &str = "127.0.0.1:15012";
const HTTP: &str = "127.0.0.1:15014";
const WEBHOOK: &str = "127.0.0.1:15017";
const READY: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(2);
/// Ticks of `/proc/<pid>/stat` per second, on every Linux there is.
const TICKS: f64 = 100.0;

/// The process.
pub(crate) struct Controller {
    child: Child,
    log: PathBuf,
}

/// What it uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Bytes of memory now
    pub(crate) resident: u64,
    /// Most bytes of memory so far
    pub(crate) peak: u64,
    /// Seconds of CPU so far
    pub(crate) cpu: f64,
}

impl Controller {
    /// Starts it.
    pub(crate) fn start(program: &Path, directory: &Directory, level: &str) -> Result<Self> {
        let log = directory.path().join("scale-controller.log");
        let out = File::create(&log).context("make the log")?;
        let child = Command::new(program)
            .env("KUBECONFIG", directory.admin())
            .env("POD_NAMESPACE", SYSTEM)
            .env("POD_NAME", "scale")
            .env("XDS_ADDR", XDS)
            .env("HTTP_ADDR", HTTP)
            .env("WEBHOOK_ADDR", WEBHOOK)
            .env("WAYPOINT_IMAGE", "")
            .env("RUST_LOG", level)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("share the log")?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, log })
    }

    /// Waits until it says it is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY;
        while !is_ready() {
            let ended = self.child.try_wait().context("look at the controller")?;
            ensure!(
                ended.is_none(),
                "the controller ended: {}",
                self.log.display()
            );
            ensure!(Instant::now() < end, "not ready: {}", self.log.display());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What it uses now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(&path).context(path)
        };
        let status = read("status")?;
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).context("memory")
        };
        let stat = read("stat")?;
        let fields = stat.rsplit_once(") ").context("stat")?.1;
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|text| text.parse::<f64>().ok()).sum();
        Ok(Usage {
            resident: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
            cpu: ticks / TICKS,
        })
    }
}

fn is_ready() -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(HTTP)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
