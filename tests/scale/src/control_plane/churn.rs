//! A cluster that never rests: pods change all the time, at a rate.
//! Owns its task. Never touches what is measured.

use super::population::{Population, namespace, pod};
use crate::api::Api;
use ambit_runtime::tasks::{self, Task};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use rand::Rng as _;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Namespaces below this number are left alone.
const FIRST: usize = 11;
/// Changes on their way at the same time.
const AT_ONCE: usize = 64;

/// Running changes.
pub(crate) struct Churn {
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    _task: Task<()>,
}

impl Churn {
    /// So many changes a second.
    pub(crate) fn start(api: Api, population: Population, rate: u32) -> Self {
        let (done, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let task = run(api, population, rate, (done.clone(), failed.clone()));
        Self {
            done,
            failed,
            _task: tasks::spawn("churn", task),
        }
    }

    /// Changes that were made, and that were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.done), load(&self.failed))
    }
}

async fn run(
    api: Api,
    population: Population,
    rate: u32,
    (done, failed): (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = FuturesUnordered::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick(), if running.len() < AT_ONCE => {
                number += 1;
                let path = any(&population);
                let api = api.clone();
                let patch = json!({"metadata": {"labels": {"version": format!("c{number}")}}});
                running.push(async move { api.patch(&path, &patch).await }.boxed());
            }
            Some(result) = running.next() => {
                let counter = if result.is_ok() { &done } else { &failed };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn any(population: &Population) -> String {
    let mut random = rand::rng();
    let n = random.random_range(FIRST..population.namespaces);
    let s = random.random_range(0..population.services_of_namespace());
    let p = random.random_range(0..population.pods_of_service());
    format!("/api/v1/namespaces/{}/pods/{}", namespace(n), pod(s, p))
}
