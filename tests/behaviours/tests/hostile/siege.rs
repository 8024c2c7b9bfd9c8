//! What every hostile test checks beside its own question.
//! In: a town, an attack. Out: fifty connections that must all end well, counters before and after, memory
//! that the attack does not keep.

use crate::attacker::Attacker;
use crate::certificates::Authority;
use ambit_behaviours::memory;
use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town};
use ambit_harness::client::TcpSummary;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;

/// Connections that must not notice.
const STEADY: usize = 50;
/// Milliseconds between two messages of each.
const EVERY: &str = "20";
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
}

/// Fifty connections talk; `None` where labs cannot be made.
#[allow(
    clippy::print_stderr,
    reason = "logs of a lab that failed, beside the reason, which stays short"
)]
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
    all.inspect_err(|_| {
        let log = |n| town.lab.log(DaemonKind::Ztunnel(node(n)));
        eprintln!("client's proxy:\n{}\nserver's proxy:\n{}", log(1), log(2));
    })?;
    Ok(Some(Siege { town, steady }))
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
        self.logged_since(kind, 0, words).await
    }

    /// The same of what it has logged after the first `before` bytes.
    pub(crate) async fn logged_since(
        &self,
        kind: DaemonKind,
        before: usize,
        words: &[&str],
    ) -> Result<()> {
        until("the log names the error", SOON, || async {
            let log = self.town.lab.log(kind);
            let log = log.get(before..).unwrap_or_default();
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

    /// Waits until the proxies of both nodes know a Service that is new: their controller reaches them.
    pub(crate) async fn in_sync(&self, name: &str) -> Result<()> {
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {TOWN}}}\n\
             spec: {{clusterIP: 10.96.2.99, selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
        );
        // One file: each Service takes the place of the one before, and its address.
        self.town.lab.apply("in-sync", &service)?;
        let known = format!("\"{name}.{TOWN}.svc.");
        for n in [1, 2] {
            until(&format!("node {n} knows {name}"), SOON, || async {
                match self.town.lab.page(node(n), 15000, "/config_dump").await {
                    Ok(dump) if dump.contains(&known) => Ok(()),
                    other => Err(other.map(|dump| dump.len())),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// The destination's proxy is attacked until that costs it no more memory; then all is [`over`].
    ///
    /// [`over`]: Self::over
    pub(crate) async fn withstands(
        self,
        attack: impl AsyncFnMut(&Siege) -> Result<()>,
    ) -> Result<()> {
        self.withstands_at(&[DaemonKind::Ztunnel(node(2))], attack)
            .await
    }

    /// The same with other victims.
    pub(crate) async fn withstands_at(
        self,
        victims: &[DaemonKind],
        mut attack: impl AsyncFnMut(&Siege) -> Result<()>,
    ) -> Result<()> {
        let mut pids = Vec::with_capacity(victims.len());
        for victim in victims {
            let pid = self.town.daemon(*victim)?.pid().await;
            pids.push(pid.context("the victim runs")?);
        }
        memory::returns(&pids, async || attack(&self).await).await?;
        self.over().await
    }

    /// No steady connection was lost and each has talked; then the lab goes down.
    pub(crate) async fn over(self) -> Result<()> {
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
