//! What every hostile test checks beside its own question.
//! In: a town. Out: fifty connections that must all end well, counters and memory before and after.

use crate::attacker::{Attacker, crowd};
use crate::certificates::Authority;
use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town};
use ambit_harness::client::TcpSummary;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rustls::ClientConfig;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Connections that must not notice.
const STEADY: usize = 50;
/// Milliseconds between two messages of each.
const EVERY: &str = "20";
/// Memory that has not changed for so long is at rest: longer than the allocator of a lab's proxies
/// keeps pages.
const SETTLED: Duration = Duration::from_secs(2);
/// Connections of an onslaught.
pub(crate) const BURST: usize = 500;
/// Port of tunnels.
const HBONE: u16 = 15008;

/// Connections of the destination's proxy that never came to be.
const REFUSED: &str = "ambit_connections_refused_total";
const FAILED: &str = "istio_tcp_connections_failed_total";

/// A town with steady connections from `client` on node 1 to `echo` on node 2.
pub(crate) struct Siege {
    pub(crate) town: Town,
    steady: Process,
    /// Memory of the destination's proxy while only the steady connections run, in KiB.
    calm: Memory,
    pid: i32,
}

/// Fifty connections talk, and the destination's proxy has its memory measured; `None` where labs
/// cannot be made.
pub(crate) async fn siege() -> Result<Option<Siege>> {
    let Some(town) = town().await? else {
        return Ok(None);
    };
    let (to, count) = (ECHO.to_string(), STEADY.to_string());
    let command = ["bookinfo", "tcp", &to, "-n", &count, "--hold-ms", EVERY];
    let steady = town.lab.start_in(TOWN, "client", command).await?;
    let labels = [("reporter", "destination"), ("response_flags", "-")];
    let opened = "istio_tcp_connections_opened_total";
    let all = town.grows(2, (opened, &labels), 0.0, STEADY as f64).await;
    all.with_context(|| {
        let log = |n| town.lab.log(DaemonKind::Ztunnel(node(n)));
        format!("client's proxy:\n{}\nserver's proxy:\n{}", log(1), log(2))
    })?;
    let ztunnel = town.daemon(DaemonKind::Ztunnel(node(2)))?;
    let pid = ztunnel.pid().await.context("the proxy runs")?;
    let mut siege = Siege {
        calm: Memory::of(pid)?,
        town,
        steady,
        pid,
    };
    siege.rehearse().await?;
    Ok(Some(siege))
}

impl Siege {
    /// Somebody without any rights, who can reach the echo pod.
    pub(crate) fn attacker(&self) -> Result<Attacker> {
        let netns = self.town.lab.place(OUTSIDE, "outsider")?.netns;
        let echo = self.town.address(TOWN, "echo")?;
        Ok(Attacker {
            netns: netns.context("the outsider has a namespace")?,
            to: SocketAddr::new(echo.ip(), HBONE),
        })
    }

    /// Somebody the mesh's authority has given an identity, but no policy any rights.
    pub(crate) fn insider(&self) -> Result<Arc<ClientConfig>> {
        Authority::of_lab(&self.town.lab.run_dir())?
            .client("spiffe://cluster.local/ns/outside/sa/default")
    }

    /// How often the destination's proxy refused somebody for `reason`.
    pub(crate) async fn refused(&self, reason: &str) -> Result<f64> {
        let labels = [("direction", "inbound"), ("reason", reason)];
        self.town.counted(2, REFUSED, &labels).await
    }

    /// Takes the counters; [`Before::named`] then waits for them to move.
    pub(crate) async fn before(
        &self,
        reason: &'static str,
        flags: &'static str,
    ) -> Result<Before<'_>> {
        let failed = self
            .town
            .counted(2, FAILED, &[("response_flags", flags)])
            .await?;
        Ok(Before {
            siege: self,
            reason,
            flags,
            refused: self.refused(reason).await?,
            failed,
        })
    }

    /// Waits until the destination's proxy has logged a line with all of `words`.
    pub(crate) async fn logged(&self, words: &[&str]) -> Result<()> {
        self.logged_by(DaemonKind::Ztunnel(node(2)), words).await
    }

    /// Waits until a program has logged a line with all of `words`.
    pub(crate) async fn logged_by(&self, kind: DaemonKind, words: &[&str]) -> Result<()> {
        until("the log names the error", SOON, || async {
            let log = self.town.lab.log(kind);
            if log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
            {
                return Ok(());
            }
            let lines: Vec<_> = log.lines().map(str::to_owned).collect();
            Err(lines[lines.len().saturating_sub(5)..].to_vec())
        })
        .await?;
        Ok(())
    }

    /// One onslaught before the one that counts. A proxy's first one leaves behind what is kept for
    /// the next: size classes of the allocator, capacity of tables, pages of an error path. What a
    /// later one adds to that is a leak.
    async fn rehearse(&mut self) -> Result<()> {
        let (attacker, insider) = (self.attacker()?, self.insider()?);
        crowd(BURST, |_| {
            let garbage = b"GET / HTTP/1.1\r\n\r\n".to_vec();
            attacker.clone().says_within(insider.clone(), garbage)
        })
        .await?;
        let (pid, seen) = (self.pid, Cell::new((Memory::of(self.pid)?, Instant::now())));
        self.calm = until("memory settles after the rehearsal", SOON, || async {
            let (then, since) = seen.get();
            match Memory::of(pid) {
                Ok(now) if now.own.abs_diff(then.own) > now.own / 100 => {
                    seen.set((now, Instant::now()));
                    Err(format!("{then:?} became {now:?}"))
                }
                Ok(now) if since.elapsed() >= SETTLED => Ok(now),
                other => Err(format!("{other:?} for {:?}", since.elapsed())),
            }
        })
        .await?;
        Ok(())
    }

    /// Waits until the proxy's memory is back to within a tenth of what it was.
    pub(crate) async fn memory_returns(&self) -> Result<()> {
        until("memory returns", SOON, || async {
            match Memory::of(self.pid) {
                Ok(now) if now.own <= self.calm.own + self.calm.tenth() => Ok(()),
                other => Err(other.map(|now| (now, self.calm))),
            }
        })
        .await?;
        Ok(())
    }

    /// Memory returns, no steady connection was lost and each has talked; then the lab goes down.
    pub(crate) async fn over(self) -> Result<()> {
        self.memory_returns().await?;
        self.steady.signal(Signal::SIGTERM);
        let summary: TcpSummary = finish(self.steady).await?.summary()?;
        ensure!(summary.completed == STEADY, "{summary:?}");
        ensure!(summary.messages >= STEADY as u64, "{summary:?}");
        self.town.lab.down().await;
        Ok(())
    }
}

/// Counters before an attack.
pub(crate) struct Before<'a> {
    siege: &'a Siege,
    reason: &'static str,
    flags: &'static str,
    refused: f64,
    failed: f64,
}

impl Before<'_> {
    /// Waits until the reason is counted `by` times more, the failures under their flag as well, and
    /// the log has a line with all of `words`.
    pub(crate) async fn named(self, by: usize, words: &[&str]) -> Result<()> {
        let Self {
            siege,
            reason,
            flags,
            refused,
            failed,
        } = self;
        let labels = [("direction", "inbound"), ("reason", reason)];
        siege
            .town
            .grows(2, (REFUSED, &labels), refused, by as f64)
            .await?;
        let labels = [("response_flags", flags)];
        siege
            .town
            .grows(2, (FAILED, &labels), failed, by as f64)
            .await?;
        siege.logged(words).await
    }
}

/// Resident memory of a process in KiB.
///
/// Only what the process owns can leak. Pages of its binary become resident when an error path runs
/// for the first time, stay as cache, and are megabytes in a build without optimization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What it has written (`RssAnon`).
    pub(crate) own: u64,
    /// What it has read from its binary (`RssFile`).
    file: u64,
}

impl Memory {
    /// A tenth of all that is resident.
    fn tenth(self) -> u64 {
        (self.own + self.file) / 10
    }

    /// Reads `/proc/<pid>/status`.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.with_context(|| format!("no {name}"))?.parse()?)
        };
        Ok(Self {
            own: field("RssAnon:")?,
            file: field("RssFile:")?,
        })
    }
}
