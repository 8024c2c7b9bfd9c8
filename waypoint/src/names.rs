//! Addresses of endpoints that have only a name.
//! In: the names that endpoints of our clusters have. Out: [`crate::state::Names`], read whenever an endpoint is chosen.
//! Each name is asked for as soon as an endpoint has it and again every 30 s; after a failure every 5 s, and
//! what was known stays. Every address is an endpoint of its own.
//! Owns: the answers. Bounds: 1024 names, 16 questions at a time, 5 s each. Nothing here is on the way of a
//! request.

use crate::state::{Names, State};
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// One name as it is followed.
struct Followed {
    due: Instant,
    addresses: Option<Arc<[IpAddr]>>,
}

/// Follows the names that the state needs. Ends when nobody writes the state any more.
pub(crate) async fn run(state: State) {
    let names = state.load().names().clone();
    let mut followed: BTreeMap<Arc<str>, Followed> = BTreeMap::new();
    let mut changes = state.changes();
    loop {
        changes.mark_unchanged();
        let wanted = wanted(&state);
        let now = Instant::now();
        followed.retain(|name, _| wanted.contains(name));
        for name in wanted {
            followed.entry(name).or_insert(Followed {
                due: now,
                addresses: None,
            });
        }
        ask(&mut followed, now).await;
        publish(&names, &followed);
        let due = followed.values().map(|one| one.due).min();
        let due = due.unwrap_or_else(|| Instant::now() + AGAIN);
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // Changes come in bursts.
                sleep(BURST).await;
            }
            () = sleep_until(due) => {}
        }
    }
}

/// Names of endpoints of our clusters.
fn wanted(state: &State) -> BTreeSet<Arc<str>> {
    let view = state.load();
    let endpoints = view.all_endpoints().flat_map(|e| &e.endpoints);
    let workloads = endpoints.filter_map(|e| view.mesh.workload(&e.workload));
    let named = workloads.filter(|w| w.addresses.is_empty() && !w.hostname.is_empty());
    let mut names: BTreeSet<Arc<str>> = named.map(|w| w.hostname.clone()).collect();
    if names.len() > MOST_NAMES {
        let beyond = names.len() - MOST_NAMES;
        tracing::warn!(
            beyond,
            "too many names of endpoints; the rest is not resolved"
        );
        names = names.into_iter().take(MOST_NAMES).collect();
    }
    names
}

async fn ask(followed: &mut BTreeMap<Arc<str>, Followed>, now: Instant) {
    let due = followed.iter().filter(|(_, one)| one.due <= now);
    let due: Vec<Arc<str>> = due.map(|(name, _)| name.clone()).collect();
    let answers = futures::stream::iter(due).map(|name| async move {
        let answer = resolve(&name).await;
        (name, answer)
    });
    let mut answers = answers.buffer_unordered(AT_ONCE);
    while let Some((name, answer)) = answers.next().await {
        let Some(one) = followed.get_mut(&name) else {
            continue;
        };
        match answer {
            Ok(addresses) => {
                one.addresses = Some(addresses);
                one.due = Instant::now() + AGAIN;
            }
            Err(error) => {
                tracing::warn!(
                    name = &*name,
                    error,
                    "the name of an endpoint is not resolved"
                );
                one.due = Instant::now() + AFTER_FAILURE;
            }
        }
    }
}

async fn resolve(name: &str) -> Result<Arc<[IpAddr]>, String> {
    // The final dot keeps search domains out of it.
    let absolute = format!("{}.", name.trim_end_matches('.'));
    let found = timeout(DEADLINE, tokio::net::lookup_host((absolute.as_str(), 0))).await;
    let found = found.map_err(|_| "no answer in time".to_owned())?;
    let all: Vec<IpAddr> = found
        .map_err(|e| e.to_string())?
        .map(|to| to.ip())
        .collect();
    let Some(first) = all.first().copied() else {
        return Err("it has no address".to_owned());
    };
    Ok(ordered(all, first.is_ipv4()).into())
}

/// The resolver puts addresses that can be reached from here first: their family comes first. The rest of its
/// order may differ from one answer to the next.
fn ordered(mut all: Vec<IpAddr>, v4_first: bool) -> Vec<IpAddr> {
    all.sort_by_key(|ip| (ip.is_ipv4() != v4_first, *ip));
    all.dedup();
    all
}

fn publish(names: &Names, followed: &BTreeMap<Arc<str>, Followed>) {
    let known = followed.iter();
    let known = known.filter_map(|(name, one)| Some((name.clone(), one.addresses.clone()?)));
    names.set(known.collect());
}

const MOST_NAMES: usize = 1024;
const AT_ONCE: usize = 16;
const DEADLINE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const BURST: Duration = Duration::from_millis(20);
