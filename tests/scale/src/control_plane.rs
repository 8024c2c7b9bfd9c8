//! The controller in front of a large cluster: how soon everybody is in sync, what it costs, how soon a
//! change has reached everybody.
//! In: an API server, a controller's program. Out: lines, with the goals of this project beside them.

mod changes;
mod churn;
mod controller;
mod fill;
mod fleet;
mod population;

use crate::api::Api;
use crate::figures::{Durations, mib, ms, say};
use ambit_cluster::Directory;
use anyhow::{Context as _, Result, ensure};
pub(crate) use changes::Subject;
use churn::Churn;
use controller::{Controller, Usage, XDS};
use fleet::{Door, Fleet};
pub(crate) use population::Population;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From a change to everybody's having it, 99 of 100 times.
const GOAL: Duration = Duration::from_secs(1);
/// Most memory of the controller.
const GOAL_MEMORY: u64 = 300 << 20;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The controller's program
    #[arg(long)]
    controller: PathBuf,
    /// Directory of the definitions of kinds
    #[arg(long)]
    crds: PathBuf,
    #[command(flatten)]
    size: Size,
    /// Changes of each kind, at rest and in churn
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Pod changes per second in churn
    #[arg(long, default_value_t = 50)]
    churn: u32,
    /// Log levels of the controller
    #[arg(long, default_value = "warn")]
    log: String,
}

/// How large the made-up cluster is.
#[derive(clap::Args)]
pub(crate) struct Size {
    /// Pods
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Services
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Namespaces
    #[arg(long, default_value_t = 50)]
    namespaces: usize,
    /// Nodes: as many clients
    #[arg(long, default_value_t = 100)]
    nodes: usize,
}

impl Size {
    /// The cluster of this size.
    pub(crate) fn population(&self) -> Result<Population> {
        let even = self.pods.is_multiple_of(self.services)
            && self.services.is_multiple_of(self.namespaces)
            && self.nodes > 0;
        ensure!(even, "pods, services and namespaces must divide evenly");
        ensure!(
            self.namespaces > 11 && self.services / self.namespaces > 2,
            "at least 12 namespaces with 3 services each"
        );
        Ok(Population {
            namespaces: self.namespaces,
            services: self.services,
            pods: self.pods,
            nodes: self.nodes,
        })
    }
}

/// Measures everything.
pub(crate) async fn run(args: &Args, directory: &Directory) -> Result<()> {
    let population = args.size.population()?;
    let api = Api::connect(&directory.admin()).await?;
    fill::install(&api, directory, &args.crds).await?;
    fill::fill(&api, &population).await?;
    for made in Subject::made() {
        api.create(&made.path, &made.object).await?;
    }
    say(&format!(
        "{} pods, {} Services, {} namespaces, {} nodes; {} waypoints",
        population.pods,
        population.services,
        population.namespaces,
        population.nodes,
        population::WITH_WAYPOINT
    ));
    let tokens = tempfile::tempdir().context("make a directory for tokens")?;
    let start = Instant::now();
    let mut controller = Controller::start(&args.controller, directory, &args.log)?;
    controller.ready().await?;
    let ready = start.elapsed();
    usage("ready", ready, controller.usage()?);
    let door = Door::open(&api, format!("https://{XDS}"), tokens.path()).await?;
    let opened = Instant::now();
    let fleet = Fleet::start(&door, &population);
    fleet.synced().await?;
    usage("all in sync", ready + opened.elapsed(), controller.usage()?);
    let (resources, bytes) = fleet.received()?;
    say(&format!(
        "  of which clients {}; {resources} resources, {} sent",
        ms(opened.elapsed()),
        mib(bytes)
    ));
    let bench = Bench {
        api: &api,
        fleet: &fleet,
        controller: &controller,
        changes: args.changes,
    };
    // Another run on the same cluster must find other values.
    let first = usize::try_from(seconds()?).unwrap_or(0) % 50_000;
    bench.load("at rest", first).await?;
    let churn = Churn::start(api.clone(), population, args.churn);
    let began = Instant::now();
    bench
        .load(
            &format!("{} pod changes per second", args.churn),
            first + args.changes,
        )
        .await?;
    let (done, failed) = churn.counts();
    let rate = done as f64 / began.elapsed().as_secs_f64();
    say(&format!("  really {rate:.0} per second, {failed} failed"));
    let peak = controller.usage()?.peak;
    say(&format!(
        "peak memory of the controller {} (goal {}: {})",
        mib(peak),
        mib(GOAL_MEMORY),
        verdict(peak < GOAL_MEMORY)
    ));
    Ok(())
}

struct Bench<'a> {
    api: &'a Api,
    fleet: &'a Fleet,
    controller: &'a Controller,
    changes: usize,
}

impl Bench<'_> {
    async fn load(&self, title: &str, first: usize) -> Result<()> {
        let before = self.controller.usage()?;
        let (_, bytes) = self.fleet.received()?;
        let start = Instant::now();
        say(&format!(
            "{title}: from sending the PATCH to the last client's having it"
        ));
        for subject in Subject::ALL {
            let mut all = Durations::default();
            let mut after = Durations::default();
            for number in first..first + self.changes {
                let (total, push) = self.one(subject, number + 1).await?;
                all.add(total);
                after.add(push);
            }
            say(&format!(
                "  {:<34} p50 {:>9}  p99 {:>9}  (from the API's answer {:>9} {:>9}; {} times; goal {}: {})",
                subject.title(),
                ms(all.percentile(50)),
                ms(all.percentile(99)),
                ms(after.percentile(50)),
                ms(after.percentile(99)),
                all.count(),
                ms(GOAL),
                verdict(all.percentile(99) < GOAL)
            ));
        }
        let now = self.controller.usage()?;
        let (_, sent) = self.fleet.received()?;
        say(&format!(
            "  controller: {:.2} CPU-s in {:.0} s, {} resident; {} KiB sent",
            now.cpu - before.cpu,
            start.elapsed().as_secs_f64(),
            mib(now.resident),
            (sent - bytes) >> 10
        ));
        Ok(())
    }

    /// From sending the request, and from its answer.
    async fn one(&self, subject: Subject, number: usize) -> Result<(Duration, Duration)> {
        let (path, patch) = subject.patch(number);
        self.fleet.seek(subject.sought());
        let sent = Instant::now();
        self.api.patch(&path, &patch).await?;
        let answered = Instant::now();
        let found = self.fleet.found().await?;
        Ok((found - sent, found.saturating_duration_since(answered)))
    }
}

fn usage(what: &str, after: Duration, usage: Usage) {
    say(&format!(
        "{what} after {}: {} resident, {} at most, {:.2} CPU-s",
        ms(after),
        mib(usage.resident),
        mib(usage.peak),
        usage.cpu
    ));
}

/// Seconds since 1970.
fn seconds() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock")?.as_secs())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
