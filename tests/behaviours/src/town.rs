//! A small lab for behaviours of single connections, and the questions tests ask of it.

use crate::can_run;
use ambit_harness::client::TcpSummary;
use ambit_harness::cluster::PodView;
use ambit_harness::lab::{Daemon, DaemonKind};
use ambit_harness::names::NodeNumber;
use ambit_harness::{Families, Lab, LabBuilder, until};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// How long the mesh may take to follow a change.
pub const SOON: Duration = Duration::from_secs(60);
/// The namespace in the mesh.
pub const TOWN: &str = "town";
/// The namespace that is not.
pub const OUTSIDE: &str = "outside";
/// Port of every echo server.
pub const PORT: u16 = 9000;
/// Virtual address of the Service `echo`.
pub const ECHO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 2, 1)), PORT);

/// Labs share the machine: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A lab with the pods of `town.yaml`.
pub struct Town {
    /// The lab.
    pub lab: Lab,
    _turn: MutexGuard<'static, ()>,
}

/// Brings a town up; `None` where labs cannot be made.
///
/// # Errors
/// What kept it from coming up.
pub async fn town() -> Result<Option<Town>> {
    town_of(Families::V4, include_str!("town.yaml")).await
}

/// A town with other address families and objects: as in `town.yaml`, the namespace [`TOWN`] has `client` and
/// `near` on node 1 and `echo` on node 2.
///
/// # Errors
/// What kept it from coming up.
pub async fn town_of(families: Families, yaml: &str) -> Result<Option<Town>> {
    town_with(yaml, |lab| lab.families(families)).await
}

/// A town whose controller has other settings.
///
/// # Errors
/// What kept it from coming up.
pub async fn town_set(settings: &[(&str, &str)]) -> Result<Option<Town>> {
    let choose = |lab: LabBuilder| {
        let set =
            |lab: LabBuilder, (name, value): &(&str, &str)| lab.controller_setting(name, value);
        settings.iter().fold(lab, set)
    };
    town_with(include_str!("town.yaml"), choose).await
}

async fn town_with(
    yaml: &str,
    choose: impl FnOnce(LabBuilder) -> LabBuilder,
) -> Result<Option<Town>> {
    if !can_run() {
        return Ok(None);
    }
    let turn = TURN.lock().await;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let lab = Lab::builder(&format!("town{count}-{}", std::process::id()));
    let lab = choose(lab).up().await?;
    lab.apply("town", yaml)?;
    lab.pods_ready(SOON).await?;
    let town = Town { lab, _turn: turn };
    for pod in ["client", "echo", "near"] {
        town.captured(pod).await?;
    }
    town.works("echo").await?;
    // The pod's address is known before its readiness is: a Service without ready endpoints refuses.
    for service in town.service_addresses("echo")? {
        town.reaches(service).await?;
    }
    Ok(Some(town))
}

/// Node 1 or 2.
pub fn node(n: u8) -> NodeNumber {
    NodeNumber::new(n)
}

impl Town {
    /// Waits until a pod of the town carries the mark of capture.
    ///
    /// # Errors
    /// It does not.
    pub async fn captured(&self, pod: &str) -> Result<()> {
        until(&format!("{pod} captured"), SOON, || async {
            let cluster = self.lab.cluster();
            let found = cluster.pods.get(&(TOWN.to_owned(), pod.to_owned()));
            let state = found.and_then(|p| PodView(p).annotation(REDIRECTION).cloned());
            if state.as_deref() == Some("enabled") {
                Ok(())
            } else {
                Err(state)
            }
        })
        .await?;
        Ok(())
    }

    /// Waits until the client reaches `pod` once.
    ///
    /// # Errors
    /// It does not.
    pub async fn works(&self, pod: &str) -> Result<()> {
        until(&format!("client reaches {pod}"), SOON, || async {
            // A pod that is captured while it starts has its address a moment later.
            let to = self.address(TOWN, pod).map_err(|e| format!("{e:#}"))?;
            self.echoes(to).await
        })
        .await?;
        Ok(())
    }

    /// Waits until a connection of the client to `to` is echoed.
    ///
    /// # Errors
    /// It is not.
    pub async fn reaches(&self, to: SocketAddr) -> Result<()> {
        until(&format!("client reaches {to}"), SOON, || self.echoes(to)).await?;
        Ok(())
    }

    /// One connection of the client, or what became of it.
    async fn echoes(&self, to: SocketAddr) -> Result<(), String> {
        match self.lab.tcp(TOWN, "client", to, &[]).await {
            Ok(s) if s.completed == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Virtual addresses of a Service of the town, with the port of echo servers.
    fn service_addresses(&self, name: &str) -> Result<Vec<SocketAddr>> {
        let cluster = self.lab.cluster();
        let found = cluster.services.get(&(TOWN.to_owned(), name.to_owned()));
        let spec = found.and_then(|service| service.spec.as_ref());
        let spec = spec.with_context(|| format!("no Service {name}"))?;
        let all = spec.cluster_ips.iter().flatten();
        let one = spec
            .cluster_ip
            .iter()
            .filter(|_| spec.cluster_ips.is_none());
        let parsed = all
            .chain(one)
            .map(|ip| Ok(SocketAddr::new(ip.parse()?, PORT)));
        parsed.collect()
    }

    /// Where a pod's echo server listens, at its primary address.
    ///
    /// # Errors
    /// The pod has no address.
    pub fn address(&self, namespace: &str, pod: &str) -> Result<SocketAddr> {
        let all = self.lab.pod_addresses(namespace, pod);
        let ip = all.first().context("the pod has no address")?;
        Ok(SocketAddr::new(*ip, PORT))
    }

    /// The same at its IPv6 address.
    ///
    /// # Errors
    /// The pod has none.
    pub fn address_v6(&self, namespace: &str, pod: &str) -> Result<SocketAddr> {
        let all = self.lab.pod_addresses(namespace, pod);
        let ip = all.iter().find(|ip| ip.is_ipv6());
        Ok(SocketAddr::new(
            *ip.context("the pod has no IPv6 address")?,
            PORT,
        ))
    }

    /// `n` connections at once from the client to the Service `echo`, each echoing a few bytes.
    ///
    /// # Errors
    /// The client could not run; broken connections are in the summary.
    pub async fn connections(&self, n: usize) -> Result<TcpSummary> {
        let n = n.to_string();
        Ok(self.lab.tcp(TOWN, "client", ECHO, &["-n", &n]).await?)
    }

    /// A daemon that must exist.
    ///
    /// # Errors
    /// It does not.
    pub fn daemon(&self, kind: DaemonKind) -> Result<Arc<Daemon>> {
        self.lab.daemon(kind).cloned().context("no such daemon")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// There is no such daemon.
    pub async fn kill(&self, kind: DaemonKind) -> Result<()> {
        self.daemon(kind)?.kill().await;
        Ok(())
    }

    /// Starts a daemon again and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(&self, kind: DaemonKind) -> Result<()> {
        let daemon = self.daemon(kind)?;
        daemon.start().await?;
        Ok(self.lab.daemon_ready(&daemon).await?)
    }

    /// Sum of a traffic counter on a node.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub async fn counted(&self, n: u8, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.lab.ztunnel_metrics(node(n)).await?.sum(name, labels))
    }

    /// Waits until a traffic counter of a node has grown by at least `by` over `before`.
    ///
    /// # Errors
    /// It has not.
    pub async fn grows(
        &self,
        n: u8,
        counter: (&str, &[(&str, &str)]),
        before: f64,
        by: f64,
    ) -> Result<()> {
        until(counter.0, SOON, || async {
            match self.counted(n, counter.0, counter.1).await {
                Ok(now) if now >= before + by => Ok(()),
                other => Err(other.map(|now| now - before)),
            }
        })
        .await?;
        Ok(())
    }
}

/// Annotation the agent writes.
const REDIRECTION: &str = "ambient.istio.io/redirection";
