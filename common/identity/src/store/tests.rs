//! The store against an authority the test controls, in paused time.

use super::*;
use crate::authority::SignRequest;
use crate::in_process_ca::InProcessCa;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Signs when the test lets it, fails when told to, and reports what it is asked.
struct Scripted {
    ca: InProcessCa,
    failing: Mutex<HashMap<SpiffeId, ()>>,
    gate: Semaphore,
    asked: mpsc::UnboundedSender<SpiffeId>,
    trust: Mutex<Option<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Authority for Scripted {
    fn sign(&self, request: SignRequest) -> BoxFuture<'_, Result<Vec<String>, CaError>> {
        Box::pin(async move {
            let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.asked.send(request.id.clone()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            self.running.fetch_sub(1, Ordering::SeqCst);
            if self.failing.lock().unwrap().contains_key(&request.id) {
                return Err(CaError::Timeout {
                    after: Duration::from_secs(1),
                });
            }
            let now = SystemTime::now();
            self.ca.sign_between(&request, now, now + request.validity)
        })
    }

    fn trust(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { self.trust.lock().unwrap().clone() })
    }
}

struct Bench {
    store: SecretStore,
    authority: Arc<Scripted>,
    asked: mpsc::UnboundedReceiver<SpiffeId>,
    _serve: tokio::task::JoinSet<()>,
}

const LIFE: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(100_000);

fn bench() -> Bench {
    let (tell, asked) = mpsc::unbounded_channel();
    let authority = Arc::new(Scripted {
        ca: InProcessCa::new("test").unwrap(),
        failing: Mutex::default(),
        gate: Semaphore::new(0),
        asked: tell,
        trust: Mutex::default(),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let config = StoreConfig {
        validity: LIFE,
        concurrency: 2,
    };
    let (store, serve) = SecretStore::new(authority.clone(), config);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve);
    Bench {
        store,
        authority,
        asked,
        _serve: tasks,
    }
}

fn id(n: usize) -> SpiffeId {
    SpiffeId::new("cluster.local", "default", &format!("sa{n}"))
}

impl Bench {
    fn open(&self) {
        self.authority.gate.add_permits(1_000);
    }

    fn fail(&self, id: &SpiffeId, fail: bool) {
        let mut failing = self.authority.failing.lock().unwrap();
        if fail {
            failing.insert(id.clone(), ());
        } else {
            failing.remove(id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_waiters_share_one_request() {
    let mut bench = bench();
    let wait = |_| {
        let store = bench.store.clone();
        async move { store.svid(&id(1), LONG).await.unwrap() }
    };
    let waiters = futures::future::join_all((0..6).map(wait));
    let release = async {
        assert_eq!(bench.asked.recv().await, Some(id(1)));
        bench.authority.gate.add_permits(1);
    };
    let (svids, ()) = tokio::join!(waiters, release);
    assert!(svids.iter().all(|s| Arc::ptr_eq(s, &svids[0])));
    assert_eq!(svids[0].id(), &id(1));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_at_half_life_and_serves_until_its_end() {
    let mut bench = bench();
    bench.open();
    let mut lease = bench.store.lease(&id(1), Priority::Warmup);
    let first = lease.svid(LONG).await.unwrap();
    bench.asked.recv().await.unwrap();

    let start = Instant::now();
    bench.fail(&id(1), true);
    bench.asked.recv().await.unwrap();
    let half = start.elapsed();
    assert!(
        half > LIFE.mul_f64(0.39) && half < LIFE.mul_f64(0.51),
        "{half:?}"
    );
    lease.changed().await.unwrap();
    while lease.state().error.is_none() {
        lease.changed().await.unwrap();
    }
    let kept = lease.svid(LONG).await.unwrap();
    assert!(Arc::ptr_eq(&kept, &first), "the old one serves");

    while lease.state().svid.is_some() {
        lease.changed().await.unwrap();
    }
    let age = start.elapsed();
    assert!(
        age > LIFE - Duration::from_secs(5) && age <= LIFE,
        "{age:?}"
    );
    let error = lease.svid(LONG).await.unwrap_err();
    assert!(matches!(error, SecretError::Unavailable { .. }), "{error}");

    bench.fail(&id(1), false);
    while lease.state().svid.is_none() {
        lease.changed().await.unwrap();
    }
    assert!(lease.state().error.is_none());
}

#[tokio::test(start_paused = true)]
async fn requests_are_limited_and_whoever_waits_goes_first() {
    let mut bench = bench();
    let _warm: Vec<_> = (0..6)
        .map(|n| bench.store.lease(&id(n), Priority::Warmup))
        .collect();
    let first = bench.asked.recv().await.unwrap();
    let second = bench.asked.recv().await.unwrap();
    let urgent = (0..6).map(id).rfind(|i| *i != first && *i != second);
    let urgent = urgent.unwrap();
    let store = bench.store.clone();
    let waits = {
        let urgent = urgent.clone();
        async move { store.svid(&urgent, LONG).await.unwrap() }
    };
    let check = async {
        // Let the waiter ask before a place becomes free.
        tokio::task::yield_now().await;
        bench.authority.gate.add_permits(1);
        assert_eq!(bench.asked.recv().await.unwrap(), urgent);
        bench.open();
    };
    tokio::join!(waits, check);
    for _ in 0..3 {
        bench.asked.recv().await.unwrap();
    }
    assert_eq!(bench.authority.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_lease_takes_the_certificate_with_it() {
    let mut bench = bench();
    let lease = bench.store.lease(&id(1), Priority::Warmup);
    let other = lease.clone();
    bench.asked.recv().await.unwrap();
    drop(lease);
    assert_eq!(bench.store.snapshot()[0].users, 1);
    drop(other);
    assert!(bench.store.snapshot().is_empty());

    // The reply to the forgotten request must not answer the new one.
    let again = bench.store.lease(&id(1), Priority::Warmup);
    bench.asked.recv().await.unwrap();
    assert!(again.current().is_none());
    bench.open();
    again.svid(LONG).await.unwrap();
    assert_eq!(bench.store.snapshot().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_fails_all_waiters_and_is_repeated() {
    let bench = bench();
    bench.open();
    bench.fail(&id(1), true);
    let lease = bench.store.lease(&id(1), Priority::OnDemand);
    let waits = (0..6).map(|_| lease.svid(LONG));
    for result in futures::future::join_all(waits).await {
        assert!(matches!(result, Err(SecretError::Unavailable { .. })));
    }
    bench.fail(&id(1), false);
    let mut lease = lease;
    while lease.state().svid.is_none() {
        lease.changed().await.unwrap();
    }
    lease.svid(Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_a_deadline() {
    let bench = bench();
    let error = bench
        .store
        .svid(&id(1), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(matches!(error, SecretError::Timeout { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_authority_gives_new_certificates_at_once_and_the_old_ones_serve_until_then() {
    let mut bench = bench();
    let trust = |pem: Option<&str>| {
        *bench.authority.trust.lock().unwrap() = pem.map(str::to_owned);
    };
    let root = || InProcessCa::new("another").unwrap().root_pem().to_owned();
    let (one, two, three) = (bench.authority.ca.root_pem().to_owned(), root(), root());
    trust(Some(&one));
    bench.authority.gate.add_permits(2);
    let leases = [1, 2].map(|n| bench.store.lease(&id(n), Priority::Warmup));
    let first = leases[0].svid(LONG).await.unwrap();
    leases[1].svid(LONG).await.unwrap();
    for _ in 0..2 {
        bench.asked.recv().await.unwrap();
    }
    let start = Instant::now();
    // A file that is being written is no other authority.
    for pem in [Some(one.as_str()), None, Some("half"), Some(&one)] {
        trust(pem);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(bench.asked.try_recv().is_err(), "{pem:?}");
    }
    trust(Some(&two));
    for _ in 0..2 {
        bench.asked.recv().await.unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_secs(140),
        "{:?}",
        start.elapsed()
    );
    assert!(Arc::ptr_eq(&leases[0].current().unwrap(), &first));
    // Changed again while requests run: their replies may be of either.
    trust(Some(&three));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(bench.asked.try_recv().is_err());
    bench.open();
    let mut again = [
        bench.asked.recv().await.unwrap(),
        bench.asked.recv().await.unwrap(),
    ];
    again.sort();
    assert_eq!(again, [id(1), id(2)]);
    assert!(!Arc::ptr_eq(&leases[0].svid(LONG).await.unwrap(), &first));
}

#[tokio::test(start_paused = true)]
async fn published_roots_are_used_at_once_and_another_first_one_renews() {
    let mut bench = bench();
    bench.open();
    let trust = |pems: &[&str]| {
        *bench.authority.trust.lock().unwrap() = Some(pems.concat());
    };
    let (ours, other) = (
        bench.authority.ca.root_pem().to_owned(),
        InProcessCa::new("another").unwrap().root_pem().to_owned(),
    );
    trust(&[&ours]);
    let mut lease = bench.store.lease(&id(1), Priority::Warmup);
    let first = lease.svid(LONG).await.unwrap();
    bench.asked.recv().await.unwrap();
    lease.state();

    // Announced: the same certificate, more roots.
    lease.state.mark_unchanged();
    trust(&[&ours, &other]);
    lease.changed().await.unwrap();
    let both = lease.current().unwrap();
    assert_eq!(both.bundle().roots().len(), 2);
    assert_eq!(both.serial(), first.serial());
    assert!(bench.asked.try_recv().is_err(), "nothing to renew");

    // Another leads, and this authority has not followed: it is asked again, a few times.
    trust(&[&other, &ours]);
    let start = Instant::now();
    for _ in 0..6 {
        bench.asked.recv().await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(400));
    assert_eq!(lease.svid(LONG).await.unwrap().bundle().roots().len(), 2);

    // What is withdrawn is not trusted by certificates in use either.
    trust(&[&ours, &other]);
    bench.asked.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    trust(&[&ours]);
    while lease.current().unwrap().bundle().roots().len() != 1 {
        lease.changed().await.unwrap();
    }
    assert!(bench.asked.try_recv().is_err());
}
