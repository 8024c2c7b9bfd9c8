//! Series owned per worker, summed at scrape.
//! A worker resolves a label set once to a handle of relaxed atomics and then counts without lock or
//! hash. Label sets nobody holds and nothing has touched for a while leave all workers together, so
//! that pods that come and go do not grow the process (a sum must never drop by one worker's share).
//! In: label sets. Out: one merged view per scrape. Who owns: each worker its shard; the set the list.

use foldhash::{HashMap, HashMapExt};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a series counts: a bundle of relaxed atomics.
pub trait Cells: Default + Send + Sync + 'static {
    /// A plain copy of the values.
    type Sum: Default + PartialEq;
    /// Adds the current values to `sum`.
    fn add_to(&self, sum: &mut Self::Sum);
}

/// All series of one kind, in all workers.
#[derive(Debug)]
pub struct SeriesSet<L, C: Cells> {
    shards: Mutex<Vec<Arc<Shard<L, C>>>>,
    idle: Duration,
}

/// One worker's series. Its counts stay when it goes.
#[derive(Debug)]
pub struct WorkerSeries<L, C: Cells> {
    shard: Arc<Shard<L, C>>,
}

#[derive(Debug)]
struct Shard<L, C> {
    series: Mutex<HashMap<L, Entry<C>>>,
}

#[derive(Debug)]
struct Entry<C> {
    cells: Arc<C>,
    /// When a scrape last saw it held or changed.
    seen: Instant,
    total: u64,
}

impl<L, C: Cells> SeriesSet<L, C>
where
    L: Clone + Eq + Hash,
{
    /// A set whose series leave after `idle` without use.
    pub fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            shards: Mutex::new(Vec::new()),
            idle,
        })
    }

    /// The series of one more worker. The worker keeps it for its life.
    pub fn worker(&self) -> WorkerSeries<L, C> {
        let shard = Arc::new(Shard::default());
        lock(&self.shards).push(shard.clone());
        WorkerSeries { shard }
    }

    /// Sums over workers, without an order. Drops series that have been idle since before
    /// `now - idle`; `total` tells whether a sum has moved.
    pub fn collect(&self, now: Instant, total: impl Fn(&C::Sum) -> u64) -> Vec<(L, C::Sum)> {
        let shards = lock(&self.shards).clone();
        let mut merged: HashMap<L, (C::Sum, bool)> = HashMap::new();
        for shard in &shards {
            for (labels, entry) in lock(&shard.series).iter_mut() {
                let mut own = C::Sum::default();
                entry.cells.add_to(&mut own);
                let moved = total(&own);
                if Arc::strong_count(&entry.cells) > 1 || moved != entry.total {
                    entry.seen = now;
                    entry.total = moved;
                }
                let fresh = now.saturating_duration_since(entry.seen) < self.idle;
                let slot = merged
                    .entry(labels.clone())
                    .or_insert_with(|| (C::Sum::default(), false));
                entry.cells.add_to(&mut slot.0);
                slot.1 |= fresh;
            }
        }
        let stale = merged.values().any(|(_, fresh)| !fresh);
        if stale {
            for shard in &shards {
                let held = |e: &Entry<C>| Arc::strong_count(&e.cells) > 1;
                lock(&shard.series)
                    .retain(|labels, e| held(e) || merged.get(labels).is_none_or(|(_, f)| *f));
            }
        }
        merged
            .into_iter()
            .filter(|(_, (_, fresh))| *fresh)
            .map(|(labels, (sum, _))| (labels, sum))
            .collect()
    }
}

impl<L, C: Cells> WorkerSeries<L, C>
where
    L: Clone + Eq + Hash,
{
    /// The counters of a label set. Hold the result as long as the connection lives.
    pub fn resolve(&self, labels: &L) -> Arc<C> {
        let mut series = lock(&self.shard.series);
        if let Some(entry) = series.get(labels) {
            return entry.cells.clone();
        }
        let cells = Arc::new(C::default());
        let entry = Entry {
            cells: cells.clone(),
            seen: Instant::now(),
            total: 0,
        };
        series.insert(labels.clone(), entry);
        cells
    }
}

impl<L, C> Default for Shard<L, C> {
    fn default() -> Self {
        Self {
            series: Mutex::new(HashMap::new()),
        }
    }
}

/// Sorts by the text of the labels, so that two scrapes of one state are equal.
pub(crate) fn ordered<L, S>(series: Vec<(L, S)>, text: impl Fn(&L) -> String) -> Vec<(L, S)> {
    let keyed: BTreeMap<String, (L, S)> = series
        .into_iter()
        .map(|pair| (text(&pair.0), pair))
        .collect();
    keyed.into_values().collect()
}

/// A panic elsewhere while counting leaves counts usable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct One(AtomicU64);

    impl Cells for One {
        type Sum = u64;
        fn add_to(&self, sum: &mut u64) {
            *sum += self.0.load(Ordering::Relaxed);
        }
    }

    #[test]
    fn workers_are_summed() {
        let set = SeriesSet::<&str, One>::new(Duration::from_secs(10));
        let (a, b) = (set.worker(), set.worker());
        a.resolve(&"x").0.fetch_add(2, Ordering::Relaxed);
        b.resolve(&"x").0.fetch_add(3, Ordering::Relaxed);
        assert_eq!(set.collect(Instant::now(), |s| *s), [("x", 5)]);
    }

    #[test]
    fn idle_series_leave_all_workers_together_and_only_when_nobody_holds_them() {
        let set = SeriesSet::<&str, One>::new(Duration::from_secs(10));
        let (a, b) = (set.worker(), set.worker());
        let start = Instant::now();
        let held = a.resolve(&"x");
        held.0.fetch_add(1, Ordering::Relaxed);
        b.resolve(&"x").0.fetch_add(1, Ordering::Relaxed);
        let later = start + Duration::from_secs(60);
        assert_eq!(set.collect(start, |s| *s), [("x", 2)]);
        assert_eq!(set.collect(later, |s| *s), [("x", 2)], "still held by a");
        drop(held);
        assert_eq!(
            set.collect(later + Duration::from_secs(1), |s| *s),
            [("x", 2)]
        );
        assert_eq!(set.collect(later + Duration::from_secs(60), |s| *s), []);
        assert_eq!(a.resolve(&"x").0.load(Ordering::Relaxed), 0, "starts again");
    }

    #[test]
    fn counts_survive_the_worker() {
        let set = SeriesSet::<&str, One>::new(Duration::from_secs(10));
        let a = set.worker();
        a.resolve(&"x").0.fetch_add(1, Ordering::Relaxed);
        drop(a);
        assert_eq!(set.collect(Instant::now(), |s| *s), [("x", 1)]);
    }
}
