//! Which endpoint of a cluster takes a request.
//! In: candidates with weight and load, those tried before. Out: an index.
//! An endpoint that was tried is avoided while there is another.
//! Spec: Envoy's round robin, random and least request (two choices).

use ambit_model::route::LoadBalancer;
use rand::Rng;

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Relative share; 0 takes nothing.
    pub weight: u32,
    /// Requests it is working on for this worker.
    pub active: u32,
    /// This request was there before and failed.
    pub tried: bool,
}

/// Place in the turn of one cluster, kept by the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn(u64);

impl Turn {
    /// A turn that begins anywhere, so that workers do not walk in step.
    pub fn starting_anywhere(rng: &mut impl Rng) -> Self {
        Self(rng.random::<u32>().into())
    }
}

/// Picks an endpoint. `None`: there is none that may take anything. O(candidates).
pub fn pick(
    kind: LoadBalancer,
    candidates: &[Candidate],
    turn: &mut Turn,
    rng: &mut impl Rng,
) -> Option<usize> {
    let fresh = candidates.iter().any(|c| !c.tried && c.weight > 0);
    let may = |c: &Candidate| c.weight > 0 && !(fresh && c.tried);
    let total: u64 = candidates
        .iter()
        .filter(|c| may(c))
        .map(|c| u64::from(c.weight))
        .sum();
    if total == 0 {
        return None;
    }
    let at = |mut left: u64| {
        candidates.iter().position(|c| {
            let weight = if may(c) { u64::from(c.weight) } else { 0 };
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    };
    match kind {
        LoadBalancer::Random => at(rng.random_range(0..total)),
        LoadBalancer::RoundRobin => {
            turn.0 = turn.0.wrapping_add(1);
            at(spread(turn.0, total, candidates))
        }
        LoadBalancer::LeastRequest => {
            let a = at(rng.random_range(0..total))?;
            let b = at(rng.random_range(0..total))?;
            // Load is compared per unit of weight, without division.
            let load = |i: usize, other: usize| {
                u64::from(candidates[i].active + 1) * u64::from(candidates[other].weight)
            };
            Some(if load(b, a) < load(a, b) { b } else { a })
        }
    }
}

/// Where in `0..total` turn number `turn` falls. Every place is visited once a round, in steps near the
/// golden ratio: an endpoint's turns are spread over the round instead of following each other.
fn spread(turn: u64, total: u64, candidates: &[Candidate]) -> u64 {
    let unit = candidates
        .iter()
        .fold(0, |unit, c| gcd(unit, u64::from(c.weight)));
    let places = total / unit.max(1);
    let near = places * 618 / 1000;
    let step = (near.max(1)..)
        .find(|step| gcd(*step, places) == 1)
        .unwrap_or(1);
    // The product of two 64-bit numbers needs the wider type.
    let place = u128::from(turn) * u128::from(step) % u128::from(places.max(1));
    u64::try_from(place).unwrap_or_default() * unit
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn candidate(weight: u32, active: u32) -> Candidate {
        Candidate {
            weight,
            active,
            tried: false,
        }
    }

    fn counts(kind: LoadBalancer, candidates: &[Candidate], n: usize) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(5);
        let mut turn = Turn::default();
        let mut counts = vec![0; candidates.len()];
        for _ in 0..n {
            counts[pick(kind, candidates, &mut turn, &mut rng).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_takes_turns_by_weight() {
        let equal = [candidate(100, 9), candidate(100, 0), candidate(100, 3)];
        assert_eq!(counts(LoadBalancer::RoundRobin, &equal, 9), [3, 3, 3]);
        let uneven = [candidate(2, 0), candidate(1, 0), candidate(0, 0)];
        assert_eq!(counts(LoadBalancer::RoundRobin, &uneven, 9), [6, 3, 0]);
        let odd = [candidate(4, 0), candidate(5, 0), candidate(3, 0)];
        assert_eq!(counts(LoadBalancer::RoundRobin, &odd, 24), [8, 10, 6]);
    }

    #[test]
    fn least_request_prefers_the_idle_one() {
        let got = counts(
            LoadBalancer::LeastRequest,
            &[candidate(1, 50), candidate(1, 0)],
            1000,
        );
        assert!((200..300).contains(&got[0]), "{got:?}");
        let even = counts(
            LoadBalancer::LeastRequest,
            &[candidate(1, 4), candidate(1, 4)],
            1000,
        );
        assert!((430..570).contains(&even[0]), "{even:?}");
    }

    #[test]
    fn what_was_tried_is_avoided_while_there_is_another() {
        let tried = Candidate {
            tried: true,
            ..candidate(1, 0)
        };
        assert_eq!(
            counts(LoadBalancer::Random, &[tried, candidate(1, 0)], 50),
            [0, 50]
        );
        assert_eq!(counts(LoadBalancer::LeastRequest, &[tried], 5), [5]);
    }

    proptest! {
        #[test]
        fn only_what_may_take_it_is_picked(
            weights in prop::collection::vec((0u32..3, 0u32..5, any::<bool>()), 0..6),
            kind in prop_oneof![Just(LoadBalancer::Random), Just(LoadBalancer::RoundRobin), Just(LoadBalancer::LeastRequest)],
            seed: u64,
        ) {
            let candidates: Vec<_> =
                weights.into_iter().map(|(weight, active, tried)| Candidate { weight, active, tried }).collect();
            let mut rng = StdRng::seed_from_u64(seed);
            let mut turn = Turn::starting_anywhere(&mut rng);
            match pick(kind, &candidates, &mut turn, &mut rng) {
                Some(i) => {
                    prop_assert!(candidates[i].weight > 0);
                    let fresh = candidates.iter().any(|c| c.weight > 0 && !c.tried);
                    prop_assert!(!candidates[i].tried || !fresh);
                }
                None => prop_assert!(candidates.iter().all(|c| c.weight == 0)),
            }
        }
    }
}
