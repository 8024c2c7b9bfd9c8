//! What every attack on a waypoint checks beside its own question.
//! In: bookinfo behind a waypoint, an attack. Out: requests that must all be answered, counters before and
//! after, memory that the attack does not keep.

use crate::attacker::Attacker;
use crate::certificates::Authority;
use crate::raider::Raider;
use crate::stage::{REVIEWS, SOON, Stage};
use ambit_behaviours::memory;
use ambit_harness::client::HttpSummary;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::names::NodeNumber;
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use std::net::SocketAddr;

/// Lines of a log shown when requests were lost.
const SHOWN: usize = 40;
/// Virtual address of the Service behind the waypoint.
pub(crate) const AUTHORITY: &str = "10.96.1.3:9080";
/// Connections that must not notice, and milliseconds between two requests of each.
const KEPT: (&str, &str) = ("50", "100");
/// Others that ask, each time on a new connection.
const NEW: (&str, &str) = ("8", "20");
/// Requests that all have had answered before the attack.
const SETTLED: f64 = 400.0;
/// Port of tunnels.
const HBONE: u16 = 15008;

/// Bookinfo with steady requests through its waypoint.
pub(crate) struct Siege {
    pub(crate) stage: Stage,
    /// Those who keep their connections.
    kept: Process,
    /// Those who do not.
    new: Process,
}

/// A waypoint that serves steady requests; `None` where labs cannot be made.
pub(crate) async fn siege(area: &str) -> Result<Option<Siege>> {
    let Some(stage) = Stage::up(area).await? else {
        return Ok(None);
    };
    let url = format!("{REVIEWS}/reviews/0");
    // Node proxies can hear of the binding before the waypoint does.
    until("the waypoint serves", SOON, || async {
        let asked = stage.client(&[&url]).await;
        match served(&stage).await {
            Ok(1.0..) => Ok(()),
            other => Err(format!("{asked:?}, {other:?}")),
        }
    })
    .await?;
    let asks = async |(connections, pause): (&str, &str), how: &[&str]| {
        let load = ["bookinfo", "client", "--until-signal", "-c", connections];
        let pause = ["--interval-ms", pause, &url];
        let command: Vec<_> = [&load[..], &pause, how].concat();
        stage.lab.start_in(BOOKINFO, "client", command).await
    };
    let (kept, new) = (asks(KEPT, &["-k"]).await?, asks(NEW, &[]).await?);
    until("steady requests", SOON, || async {
        match served(&stage).await {
            Ok(SETTLED..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(Some(Siege { stage, kept, new }))
}

/// Requests that the waypoint has answered well.
async fn served(stage: &Stage) -> Result<f64> {
    let well = [("reporter", "waypoint"), ("response_code", "200")];
    Ok(stage.metrics().await?.sum("istio_requests_total", &well))
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

    /// What the waypoint has logged so far.
    pub(crate) fn log(&self) -> Result<String> {
        let mut text = String::new();
        for path in self.stage.logs()? {
            text.push_str(&std::fs::read_to_string(path)?);
        }
        Ok(text)
    }

    /// What the programs on the way of the steady requests have logged of others than good ones.
    fn complaints(&self) -> Result<String> {
        let lab = &self.stage.lab;
        let nodes = (1..=2).map(|node| DaemonKind::Ztunnel(NodeNumber::new(node)));
        let mut logs: Vec<String> = nodes.map(|node| lab.log(node)).collect();
        logs.push(self.log()?);
        let bad = |line: &&str| {
            let named = ["\terror\t", "\twarn\t", "error="];
            named.iter().any(|word| line.contains(word)) && !line.contains("malformed request")
        };
        let last = |log: String| {
            let lines: Vec<_> = log.lines().filter(bad).map(str::to_owned).collect();
            lines[lines.len().saturating_sub(SHOWN)..].join("\n")
        };
        Ok(logs
            .into_iter()
            .map(last)
            .collect::<Vec<_>>()
            .join("\n--\n"))
    }

    /// Waits until the waypoint has logged a line with all of `words`.
    pub(crate) async fn logged(&self, words: &[&str]) -> Result<()> {
        self.stage.log_line(words).await.map(drop)
    }

    /// Waits until it has logged such a line after the first `before` bytes.
    pub(crate) async fn logged_since(&self, before: usize, words: &[&str]) -> Result<()> {
        until("a line of the waypoint's log", SOON, || async {
            let log = self.log().map_err(|error| format!("{error:#}"))?;
            let new = log.get(before..).unwrap_or_default();
            let mut lines = new.lines();
            if lines.any(|line| words.iter().all(|word| line.contains(word))) {
                return Ok(());
            }
            Err(format!(
                "none of {} lines has {words:?}",
                new.lines().count()
            ))
        })
        .await?;
        Ok(())
    }

    /// The waypoint is attacked until that costs it no more memory; then all is [`over`].
    ///
    /// [`over`]: Self::over
    pub(crate) async fn withstands(
        self,
        mut attack: impl AsyncFnMut(&Siege) -> Result<()>,
    ) -> Result<()> {
        let (_, pod) = self.stage.waypoint()?;
        let pid = *pod.state.pids.first().context("the waypoint runs")?;
        memory::returns(&[pid], async || attack(&self).await).await?;
        self.over().await
    }

    /// No steady request was lost or answered otherwise, and no connection; then the lab goes down.
    pub(crate) async fn over(self) -> Result<()> {
        self.kept.signal(Signal::SIGTERM);
        self.new.signal(Signal::SIGTERM);
        let complaints = self.complaints()?;
        let kept: HttpSummary = finish(self.kept).await?.summary()?;
        let new: HttpSummary = finish(self.new).await?.summary()?;
        let whole = |of: &HttpSummary| of.errors.is_empty() && of.ok() == of.requests;
        let all = whole(&kept) && whole(&new) && kept.connections.to_string() == KEPT.0;
        ensure!(all, "kept: {kept:?}\nnew: {new:?}\n{complaints}");
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
