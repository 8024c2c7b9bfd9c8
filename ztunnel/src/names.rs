//! Addresses of endpoints that have only a name, as connections need them.
//! In: a hostname, how to ask for it. Out: its addresses, from memory while they hold.
//! Owns, per worker: what was answered, for as long as the answer says (1 s to 5 min; 5 s without addresses).
//! Bounds: 4096 names, those beyond are asked for each time; one question per name at a time. A failure is not remembered.

use foldhash::HashMap;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// None: the name has no address.
    pub addresses: Vec<IpAddr>,
    /// How long that holds, as the answer says.
    pub ttl: Duration,
}

/// Names of one worker.
#[derive(Debug, Default)]
pub struct Names(RefCell<HashMap<Arc<str>, Rc<Slot>>>);

#[derive(Debug, Default)]
struct Slot(OnceCell<Known>);

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Names {
    /// The addresses of a name; `ask` is called when they are not known. The caller sets the deadline.
    ///
    /// # Errors
    /// Of `ask`.
    pub async fn resolve<F, E>(
        &self,
        hostname: &Arc<str>,
        ask: impl FnOnce() -> F,
    ) -> Result<Vec<IpAddr>, E>
    where
        F: Future<Output = Result<Resolved, E>>,
    {
        let slot = self.slot(hostname);
        let known = slot.0.get_or_try_init(|| async {
            let answer = ask().await?;
            let holds = match answer.addresses.is_empty() {
                true => NOTHING,
                false => answer.ttl.clamp(SHORTEST, LONGEST),
            };
            Ok(Known {
                addresses: answer.addresses,
                until: Instant::now() + holds,
            })
        });
        known.await.map(|known| known.addresses.clone())
    }

    /// Where the answer is or will be.
    fn slot(&self, hostname: &Arc<str>) -> Rc<Slot> {
        let mut slots = self.0.borrow_mut();
        let now = Instant::now();
        if let Some(slot) = slots.get(hostname)
            && slot.0.get().is_none_or(|known| known.until > now)
        {
            return slot.clone();
        }
        let fresh = Rc::<Slot>::default();
        if slots.len() >= MOST_NAMES && !slots.contains_key(hostname) {
            slots.retain(|_, slot| match slot.0.get() {
                Some(known) => known.until > now,
                None => Rc::strong_count(slot) > 1,
            });
        }
        if slots.len() < MOST_NAMES || slots.contains_key(hostname) {
            slots.insert(hostname.clone(), fresh.clone());
        }
        fresh
    }
}

const MOST_NAMES: usize = 4096;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const NOTHING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::{advance, sleep};

    #[derive(Debug)]
    struct Lost;

    struct Asked(Cell<u32>);

    impl Asked {
        async fn ip(&self, ttl: u64) -> Result<Resolved, Lost> {
            self.0.set(self.0.get() + 1);
            sleep(Duration::from_millis(10)).await;
            Ok(Resolved {
                addresses: vec![[10, 0, 0, self.0.get() as u8].into()],
                ttl: Duration::from_secs(ttl),
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_as_long_as_it_says_and_is_asked_for_once() {
        let (names, asked) = (Names::default(), Asked(Cell::new(0)));
        let host: Arc<str> = "a.example".into();
        let ask = || names.resolve(&host, || asked.ip(30));
        let (first, second) = tokio::join!(ask(), ask());
        assert_eq!((first.unwrap(), asked.0.get()), (second.unwrap(), 1));
        advance(Duration::from_secs(29)).await;
        ask().await.unwrap();
        assert_eq!(asked.0.get(), 1);
        advance(Duration::from_secs(2)).await;
        assert_eq!(ask().await.unwrap(), [IpAddr::from([10, 0, 0, 2])]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_not_remembered_and_a_name_without_addresses_is_shortly() {
        let names = Names::default();
        let host: Arc<str> = "a.example".into();
        let fail = || async { Err::<Resolved, _>(Lost) };
        assert!(names.resolve(&host, fail).await.is_err());
        let none = || async {
            Ok::<_, Lost>(Resolved {
                addresses: Vec::new(),
                ttl: Duration::ZERO,
            })
        };
        assert!(names.resolve(&host, none).await.unwrap().is_empty());
        assert!(names.resolve(&host, fail).await.unwrap().is_empty());
        advance(NOTHING).await;
        assert!(names.resolve(&host, fail).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn names_have_a_bound_and_those_that_ended_make_room() {
        let (names, asked) = (Names::default(), Asked(Cell::new(0)));
        for n in 0..MOST_NAMES + 10 {
            let host: Arc<str> = format!("{n}.example").into();
            names.resolve(&host, || asked.ip(1)).await.unwrap();
        }
        assert!(names.0.borrow().len() <= MOST_NAMES);
        assert_eq!(asked.0.get(), (MOST_NAMES + 10) as u32);
    }
}
