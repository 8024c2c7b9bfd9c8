//! When to ask for a certificate again. Pure: time and chance are passed in.

use std::time::Duration;

/// First wait after a failed request.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait between failed requests.
const LONGEST_BACKOFF: Duration = Duration::from_secs(150);
/// Share of the life by which renewals are spread, so that pods started together do not renew
/// together.
const RENEWAL_SPREAD: f64 = 0.1;
const BACKOFF_SPREAD: f64 = 0.2;

/// How long to wait before renewing a certificate that has just been received: half of the life
/// it has left, spread by up to a tenth of it to the early side.
///
/// What is left counts, not the dates: authorities backdate the start, and their clock is not
/// ours. `chance` is in 0..1.
pub fn renew_after(left: Duration, chance: f64) -> Duration {
    left.mul_f64(0.5 - RENEWAL_SPREAD * chance.clamp(0.0, 1.0))
}

/// How long to wait after the `failures`-th failure in a row (from 1): 1 s doubled up to 150 s,
/// ±20 %.
///
/// `chance` is in 0..1.
pub fn backoff(failures: u32, chance: f64) -> Duration {
    let factor = 1_u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let doubled = FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF);
    doubled.mul_f64(1.0 + BACKOFF_SPREAD * (2.0 * chance.clamp(0.0, 1.0) - 1.0))
}

/// How long to wait before asking again for a certificate of the root that is published first, after
/// `times` in a row one of another came: 10 s doubled, five times; then renewal takes its course.
pub fn behind(times: u32) -> Option<Duration> {
    (1..=5)
        .contains(&times)
        .then(|| Duration::from_secs(10) * (1 << (times - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn renewal_is_at_half_of_what_is_left_spread_to_the_early_side() {
        assert_eq!(renew_after(secs(1000), 0.0), secs(500));
        assert_eq!(renew_after(secs(1000), 1.0), secs(400));
        assert_eq!(renew_after(secs(0), 0.3), secs(0));
    }

    #[test]
    fn an_authority_that_is_behind_is_asked_five_times() {
        let waits: Vec<_> = (0..8).map(behind).collect();
        let s = |n| Some(secs(n));
        let none = None;
        assert_eq!(
            waits,
            [none, s(10), s(20), s(40), s(80), s(160), none, none]
        );
    }

    #[test]
    fn backoff_doubles_to_its_limit() {
        assert_eq!(backoff(1, 0.5), secs(1));
        assert_eq!(backoff(2, 0.5), secs(2));
        assert_eq!(backoff(8, 0.5), secs(128));
        assert_eq!(backoff(9, 0.5), secs(150));
        assert_eq!(backoff(33, 0.5), secs(150));
        assert_eq!(backoff(4_000_000, 0.5), secs(150));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(800));
        assert_eq!(backoff(1, 1.0), Duration::from_millis(1200));
    }
}
