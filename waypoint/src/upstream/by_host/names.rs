//! What names resolve to, as requests ask for them.
//! In: a name. Out: its addresses, from memory while they hold, else from the nameservers: one question per name
//! at a time, whoever waits for it.
//! Owns, per worker: what was answered, for as long as the answer says (1 s to 5 min); that there is nothing for
//! 5 s, that nobody answered for 1 s.
//! Bounds: 1024 names, as Envoy's; beyond, those that no longer hold make room, or there is no answer. 256 questions
//! at a time, 5 s each, with the wait for their turn.

use super::resolver::{Answer, ResolveError, Resolver};
use crate::metrics::Series;
use crate::outcome::Unnamed;
use foldhash::HashMap;
use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// Names of one worker.
pub(crate) struct Names {
    resolver: Resolver,
    slots: RefCell<HashMap<Arc<str>, Rc<Slot>>>,
    turns: Semaphore,
}

type Known = Result<Arc<[IpAddr]>, Unnamed>;

#[derive(Default)]
struct Slot(OnceCell<(Known, Instant)>);

impl Names {
    /// With the nameservers of this machine.
    pub(crate) fn of_system() -> Self {
        Self::new(Resolver::of_system())
    }

    fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            slots: RefCell::default(),
            turns: Semaphore::new(MOST_QUESTIONS),
        }
    }

    /// The addresses of a name; never empty.
    pub(super) async fn addresses(&self, name: &Arc<str>, series: &Series) -> Known {
        let counted = || async {
            let answer = self.ask(name).await;
            series.name_asked(result(&answer));
            answer
        };
        match self.known(name, counted).await {
            Ok(known) => known,
            Err(full) => {
                series.name_asked("overflow");
                Err(full)
            }
        }
    }

    /// What is remembered of a name, or what `ask` says; the outer error: there is no room for it.
    async fn known<F>(&self, name: &Arc<str>, ask: impl FnOnce() -> F) -> Result<Known, Unnamed>
    where
        F: Future<Output = Result<Answer, ResolveError>>,
    {
        let slot = self.slot(name).ok_or(Unnamed::Overflow)?;
        let known = slot.0.get_or_init(|| async {
            let (known, holds) = match ask().await {
                Ok(answer) if answer.addresses.is_empty() => (Err(Unnamed::Unresolved), NOTHING),
                Ok(answer) => {
                    let holds = answer.ttl.clamp(SHORTEST, LONGEST);
                    (Ok(answer.addresses.into()), holds)
                }
                Err(error) => {
                    let error = ambit_runtime::causes::causes(&error);
                    tracing::debug!(
                        host = &**name,
                        error,
                        "a name below a wildcard is not resolved"
                    );
                    (Err(Unnamed::Unresolved), SILENCE)
                }
            };
            (known, Instant::now() + holds)
        });
        Ok(known.await.0.clone())
    }

    async fn ask(&self, name: &str) -> Result<Answer, ResolveError> {
        let asked = async {
            let _turn = self.turns.acquire().await;
            self.resolver.resolve(name).await
        };
        let late = |_| Err(ResolveError::Late);
        tokio::time::timeout(DEADLINE, asked)
            .await
            .unwrap_or_else(late)
    }

    /// Where the answer is or will be; `None`: there is no room.
    fn slot(&self, name: &Arc<str>) -> Option<Rc<Slot>> {
        let mut slots = self.slots.borrow_mut();
        let now = Instant::now();
        if let Some(slot) = slots.get(name)
            && slot.0.get().is_none_or(|(_, until)| *until > now)
        {
            return Some(slot.clone());
        }
        slots.remove(name);
        if slots.len() >= MOST_NAMES {
            slots.retain(|_, slot| match slot.0.get() {
                Some((_, until)) => *until > now,
                // Nobody waits for it any more.
                None => Rc::strong_count(slot) > 1,
            });
        }
        if slots.len() >= MOST_NAMES {
            return None;
        }
        let fresh = Rc::<Slot>::default();
        slots.insert(name.clone(), fresh.clone());
        Some(fresh)
    }
}

/// A word for the metric.
fn result(answer: &Result<Answer, ResolveError>) -> &'static str {
    match answer {
        Ok(answer) if answer.addresses.is_empty() => "no-address",
        Ok(_) => "resolved",
        Err(ResolveError::Late) => "late",
        Err(_) => "failed",
    }
}

const MOST_NAMES: usize = 1024;
const MOST_QUESTIONS: usize = 256;
const DEADLINE: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const NOTHING: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::{advance, sleep};

    fn names() -> Names {
        Names::new(Resolver::asking(Vec::new()))
    }

    struct Asked(Cell<u32>);

    impl Asked {
        async fn answer(&self, ttl: u64) -> Result<Answer, ResolveError> {
            self.0.set(self.0.get() + 1);
            sleep(Duration::from_millis(10)).await;
            Ok(Answer {
                addresses: vec![[192, 0, 2, self.0.get() as u8].into()],
                ttl: Duration::from_secs(ttl),
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_and_again_when_its_answer_no_longer_holds() {
        let (names, asked) = (names(), Asked(Cell::new(0)));
        let host: Arc<str> = "a.example".into();
        let ask = || names.known(&host, || asked.answer(30));
        let (first, second) = tokio::join!(ask(), ask());
        assert_eq!((first.unwrap(), asked.0.get()), (second.unwrap(), 1));
        advance(Duration::from_secs(29)).await;
        ask().await.unwrap().unwrap();
        assert_eq!(asked.0.get(), 1);
        advance(Duration::from_secs(2)).await;
        let again = ask().await.unwrap().unwrap();
        assert_eq!(*again, [IpAddr::from([192, 0, 2, 2])]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_leaves_the_question_to_the_next() {
        let (names, asked) = (names(), Asked(Cell::new(0)));
        let host: Arc<str> = "a.example".into();
        let ask = || names.known(&host, || asked.answer(30));
        let hasty = tokio::time::timeout(Duration::from_millis(5), ask());
        let (hasty, patient) = tokio::join!(hasty, ask());
        assert!(hasty.is_err() && patient.unwrap().is_ok());
        assert_eq!(asked.0.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_nobody_asks_again_at_once() {
        let names = names();
        let host: Arc<str> = "a.example".into();
        let nothing = || async {
            Ok(Answer {
                addresses: Vec::new(),
                ttl: LONGEST,
            })
        };
        let failed = || async { Err(ResolveError::Late) };
        let unexpected = || async { panic!("asked again") };
        for pause in [SILENCE, NOTHING] {
            let known = match pause == SILENCE {
                true => names.known(&host, failed).await,
                false => names.known(&host, nothing).await,
            };
            assert_eq!(known, Ok(Err(Unnamed::Unresolved)));
            let again = names.known(&host, unexpected).await;
            assert_eq!(again, Ok(Err(Unnamed::Unresolved)));
            advance(pause).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_names_until_some_no_longer_hold() {
        let (names, asked) = (names(), Asked(Cell::new(0)));
        let host = |n: usize| Arc::<str>::from(format!("{n}.example"));
        for n in 0..MOST_NAMES {
            let known = names.known(&host(n), || asked.answer(30)).await;
            known.unwrap().unwrap();
        }
        let beyond = names.known(&host(MOST_NAMES), || asked.answer(30)).await;
        assert_eq!(beyond, Err(Unnamed::Overflow));
        advance(Duration::from_secs(31)).await;
        let later = names.known(&host(MOST_NAMES), || asked.answer(30)).await;
        assert!(later.unwrap().is_ok());
        assert!(names.slots.borrow().len() <= MOST_NAMES);
    }
}
