//! Which roots are published next, when the authority has others than are published now.
//! In: what is published and since when, the authority's own roots, the time. Out: the next step. Pure.
//! The order: a new root is trusted by all before it signs; an old one is trusted until nothing it
//! signed is left.
//! Must not happen here: a root that signs and is not published; two steps at once.

use crate::roots::Roots;
use std::time::{Duration, SystemTime};

/// How long the steps take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From publishing a new root until it signs: all proxies have it by then.
    pub settle: Duration,
    /// From there until the old one is withdrawn: nothing of the old one is in use by then.
    pub overlap: Duration,
}

/// What proxies are told to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The roots, first the one that signs.
    pub roots: Roots,
    /// Since when they are these, in this order.
    pub since: SystemTime,
}

/// One step of a change of roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// New roots are trusted, and do not sign yet.
    Announce,
    /// The new root signs, old ones are still trusted.
    Lead,
    /// Old roots are withdrawn.
    Retire,
}

impl Step {
    /// As metrics and logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Lead => "lead",
            Self::Retire => "retire",
        }
    }
}

/// The step that is still to be done, whether or not it is time for it; `None` when the authority's own
/// roots are published.
pub fn pending(published: &Published, own: &Roots) -> Option<Step> {
    if !own.are_among(&published.roots) {
        Some(Step::Announce)
    } else if own.first() != published.roots.first() {
        Some(Step::Lead)
    } else if !published.roots.are_among(own) {
        Some(Step::Retire)
    } else {
        None
    }
}

/// The step whose time has come, and what is published after it.
pub fn next(
    published: &Published,
    own: &Roots,
    pace: Pace,
    now: SystemTime,
) -> Option<(Step, Published)> {
    let step = pending(published, own)?;
    // A clock that was set back makes steps later, never sooner.
    let waited = now.duration_since(published.since).unwrap_or_default();
    let (wait, roots) = match step {
        Step::Announce => (Duration::ZERO, published.roots.and(own)),
        Step::Lead => (pace.settle, own.and(&published.roots)),
        Step::Retire => (pace.overlap, own.clone()),
    };
    (waited >= wait).then_some((step, Published { roots, since: now }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;
    use std::time::UNIX_EPOCH;

    const PACE: Pace = Pace {
        settle: Duration::from_secs(10),
        overlap: Duration::from_secs(100),
    };

    fn roots(names: &str) -> Roots {
        Roots::new(names.bytes().map(|b| CertificateDer::from(vec![b])))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn published(names: &str, since: u64) -> Published {
        Published {
            roots: roots(names),
            since: at(since),
        }
    }

    fn step(now: &str, since: u64, own: &str, time: u64) -> Option<(Step, Published)> {
        next(&published(now, since), &roots(own), PACE, at(time))
    }

    #[test]
    fn a_new_root_is_announced_at_once_leads_when_it_is_known_and_the_old_one_goes_last() {
        assert_eq!(step("a", 0, "a", 1000), None);
        assert_eq!(
            step("a", 0, "b", 1000),
            Some((Step::Announce, published("ab", 1000)))
        );
        assert_eq!(step("ab", 1000, "b", 1009), None);
        assert_eq!(
            step("ab", 1000, "b", 1010),
            Some((Step::Lead, published("ba", 1010)))
        );
        assert_eq!(step("ba", 1010, "b", 1109), None);
        assert_eq!(
            step("ba", 1010, "b", 1110),
            Some((Step::Retire, published("b", 1110)))
        );
        assert_eq!(step("b", 1110, "b", 9999), None);
    }

    #[test]
    fn steps_that_an_administrator_makes_are_followed_and_still_paced() {
        // Both trusted, the old one signs; then the new one; then it is alone.
        assert_eq!(
            step("a", 0, "ab", 1000),
            Some((Step::Announce, published("ab", 1000)))
        );
        assert_eq!(step("ab", 1000, "ab", 5000), None);
        assert_eq!(step("ab", 1000, "ba", 1005), None);
        assert_eq!(
            step("ab", 1000, "ba", 5000),
            Some((Step::Lead, published("ba", 5000)))
        );
        assert_eq!(step("ba", 5000, "b", 5050), None);
        assert_eq!(
            step("ba", 5000, "b", 5100),
            Some((Step::Retire, published("b", 5100)))
        );
    }

    #[test]
    fn a_third_root_on_the_way_waits_for_its_own_announcement() {
        assert_eq!(
            step("ab", 0, "c", 5),
            Some((Step::Announce, published("abc", 5)))
        );
        assert_eq!(step("abc", 5, "c", 14), None);
        assert_eq!(
            step("abc", 5, "c", 15),
            Some((Step::Lead, published("cab", 15)))
        );
        // Back to the first one: it is trusted all the time.
        assert_eq!(
            step("ba", 0, "a", 10),
            Some((Step::Lead, published("ab", 10)))
        );
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_sooner() {
        assert_eq!(step("ab", 1000, "b", 500), None);
        assert_eq!(step("ba", 1000, "b", 500), None);
    }
}
