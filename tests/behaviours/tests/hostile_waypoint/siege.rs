//! What every attack on a waypoint checks beside its own question.
//! In: bookinfo behind a waypoint. Out: requests that must all be answered, counters and memory before
//! and after.

use crate::attacker::Attacker;
use crate::certificates::Authority;
use crate::raider::Raider;
use crate::stage::{REVIEWS, SOON, Stage};
use ambit_harness::client::HttpSummary;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::lab::finish;
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use std::net::SocketAddr;

/// Virtual address of the Service behind the waypoint.
pub(crate) const AUTHORITY: &str = "10.96.1.3:9080";
/// Connections that go on asking.
const STEADY: &str = "8";
/// Requests they have had answered before the attack.
const SETTLED: f64 = 400.0;
/// Port of tunnels.
const HBONE: u16 = 15008;

/// Bookinfo with steady requests through its waypoint.
pub(crate) struct Siege {
    pub(crate) stage: Stage,
    steady: Process,
    /// Memory of the waypoint while only the steady requests run, in KiB.
    calm: u64,
    pid: i32,
}

/// A waypoint that serves steady requests and has its memory measured; `None` where labs cannot be
/// made.
pub(crate) async fn siege(area: &str) -> Result<Option<Siege>> {
    let Some(stage) = Stage::up(area).await? else {
        return Ok(None);
    };
    let url = format!("{REVIEWS}/reviews/0");
    let command = [
        "bookinfo",
        "client",
        "--until-signal",
        "-c",
        STEADY,
        "--interval-ms",
        "20",
        &url,
    ];
    let steady = stage.lab.start_in(BOOKINFO, "client", command).await?;
    let served = [("reporter", "waypoint"), ("response_code", "200")];
    until("steady requests", SOON, || async {
        match stage.metrics().await {
            Ok(scrape) if scrape.sum("istio_requests_total", &served) >= SETTLED => Ok(()),
            other => Err(format!(
                "{:?}",
                other.map(|s| s.sum("istio_requests_total", &served))
            )),
        }
    })
    .await?;
    let (_, pod) = stage.waypoint()?;
    let pid = *pod.state.pids.first().context("the waypoint runs")?;
    Ok(Some(Siege {
        calm: own_memory(pid)?,
        stage,
        steady,
        pid,
    }))
}

impl Siege {
    /// Somebody outside the mesh who can reach the waypoint.
    pub(crate) fn attacker(&self) -> Result<Attacker> {
        let netns = self.stage.lab.place("outside", "outsider")?.netns;
        let (name, _) = self.stage.waypoint()?;
        let address = self.stage.lab.pod_address(BOOKINFO, &name);
        Ok(Attacker {
            netns: netns.context("the outsider has a namespace")?,
            to: SocketAddr::new(
                address.context("the waypoint has an address")?.into(),
                HBONE,
            ),
        })
    }

    /// The lab's certificate authority, in the wrong hands.
    pub(crate) fn authority(&self) -> Result<Authority> {
        Authority::of_lab(&self.stage.lab.run_dir())
    }

    /// Somebody to whom the mesh has given an identity.
    pub(crate) fn raider(&self) -> Result<Raider> {
        let tls = self
            .authority()?
            .client("spiffe://cluster.local/ns/outside/sa/default")?;
        Ok(Raider {
            attacker: self.attacker()?,
            tls,
        })
    }

    async fn counted(&self, name: &str, reason: &str) -> Result<f64> {
        Ok(self.stage.metrics().await?.sum(name, &[("reason", reason)]))
    }

    /// Takes a counter; [`Before::named`] then waits for it to move.
    pub(crate) async fn before(
        &self,
        name: &'static str,
        reason: &'static str,
    ) -> Result<Before<'_>> {
        Ok(Before {
            siege: self,
            name,
            reason,
            count: self.counted(name, reason).await?,
        })
    }

    /// Waits until the waypoint has logged a line with all of `words`.
    async fn logged(&self, words: &[&str]) -> Result<()> {
        let (name, pod) = self.stage.waypoint()?;
        let node = self.stage.lab.nodes().iter().find(|n| n.name == pod.node);
        let logs = &node.context("the waypoint's node")?.logs;
        let prefix = format!("{BOOKINFO}_{name}_");
        let read = || -> Result<String> {
            let mut text = String::new();
            for entry in std::fs::read_dir(logs)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    text.push_str(&std::fs::read_to_string(entry.path())?);
                }
            }
            Ok(text)
        };
        until("the log names the error", SOON, || async {
            let log = read().map_err(|e| vec![format!("{e:#}")])?;
            let mut lines = log.lines();
            if lines.any(|line| words.iter().all(|word| line.contains(word))) {
                return Ok(());
            }
            let warnings = log.lines().filter(|line| !line.contains(" 200 - "));
            let lines: Vec<_> = warnings.map(str::to_owned).collect();
            Err(lines[lines.len().saturating_sub(5)..].to_vec())
        })
        .await?;
        Ok(())
    }

    /// Memory returns to within a tenth of what it was, no steady request was lost or answered
    /// otherwise; then the lab goes down.
    pub(crate) async fn over(self) -> Result<()> {
        until("memory returns", SOON, || async {
            match own_memory(self.pid) {
                Ok(now) if now <= self.calm + self.calm / 10 => Ok(()),
                other => Err(other.map(|now| (now, self.calm))),
            }
        })
        .await?;
        self.steady.signal(Signal::SIGTERM);
        let summary: HttpSummary = finish(self.steady).await?.summary()?;
        ensure!(summary.errors.is_empty(), "{summary:?}");
        ensure!(summary.ok() == summary.requests, "{summary:?}");
        self.stage.lab.down().await;
        Ok(())
    }
}

/// A counter before an attack.
pub(crate) struct Before<'a> {
    siege: &'a Siege,
    name: &'static str,
    reason: &'static str,
    count: f64,
}

impl Before<'_> {
    /// Waits until it has grown by at least `by` and the log has a line with all of `words`.
    pub(crate) async fn named(self, by: usize, words: &[&str]) -> Result<()> {
        let expected = self.count + by as f64;
        until(&format!("{} {}", self.name, self.reason), SOON, || async {
            match self.siege.counted(self.name, self.reason).await {
                Ok(now) if now >= expected => Ok(()),
                other => Err(format!("{other:?}, not {expected}")),
            }
        })
        .await?;
        self.siege.logged(words).await
    }
}

/// What a process has written (`RssAnon`), in KiB: what it has read from its binary cannot leak.
fn own_memory(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no RssAnon")?.parse()?)
}
