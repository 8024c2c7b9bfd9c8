//! Which faults are injected into one request. Delay and abort are drawn apart.

use ambit_model::route::{AbortStatus, Fault, PartsPerMillion};
use rand::Rng;
use std::time::Duration;

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Wait this long first.
    pub delay: Option<Duration>,
    /// Then answer this instead of forwarding.
    pub abort: Option<AbortStatus>,
}

/// Draws the faults of one request.
pub fn draw(fault: &Fault, rng: &mut impl Rng) -> Injected {
    Injected {
        delay: fault.delay.filter(|d| hits(d.share, rng)).map(|d| d.fixed),
        abort: fault.abort.filter(|a| hits(a.share, rng)).map(|a| a.status),
    }
}

/// Whether one request is among the share. Mirrors draw with this too.
pub fn hits(share: PartsPerMillion, rng: &mut impl Rng) -> bool {
    match share.get() {
        0 => false,
        PartsPerMillion::ALL => true,
        parts => rng.random_range(0..PartsPerMillion::ALL) < parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_model::route::{Abort, Delay};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn shares_are_millionths_and_nothing_is_the_default() {
        let mut rng = StdRng::seed_from_u64(9);
        assert_eq!(draw(&Fault::default(), &mut rng), Injected::default());
        let fault = |delay, abort| Fault {
            delay: Some(Delay {
                fixed: Duration::from_secs(1),
                share: PartsPerMillion::new(delay),
            }),
            abort: Some(Abort {
                status: AbortStatus::Grpc(14),
                share: PartsPerMillion::new(abort),
            }),
        };
        let all = draw(&fault(1_000_000, 2_000_000), &mut rng);
        assert_eq!(all.delay, Some(Duration::from_secs(1)));
        assert_eq!(all.abort, Some(AbortStatus::Grpc(14)));
        let some = fault(100_000, 0);
        let drawn: Vec<_> = (0..10_000).map(|_| draw(&some, &mut rng)).collect();
        let delayed = drawn.iter().filter(|i| i.delay.is_some()).count();
        assert!((900..1_100).contains(&delayed), "{delayed}");
        assert!(drawn.iter().all(|i| i.abort.is_none()));
    }
}
