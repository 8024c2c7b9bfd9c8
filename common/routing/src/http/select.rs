//! Which of several weighted destinations a request or a connection takes.

use ambit_model::route::WeightedCluster;
use rand::Rng;

/// Name of the cluster that stands for a destination that cannot be one: a request that would go
/// there is answered with 500 (Gateway API v1, `HTTPRouteRule.backendRefs`).
pub const INVALID_BACKEND: &str = "-/invalid/0";

/// One of `clusters` by weight; `None` when all weights are 0 or there is none.
pub fn weighted<'c>(
    clusters: &'c [WeightedCluster],
    rng: &mut impl Rng,
) -> Option<&'c WeightedCluster> {
    if let [only] = clusters {
        return (only.weight > 0).then_some(only);
    }
    let total: u64 = clusters.iter().map(|c| u64::from(c.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut left = rng.random_range(0..total);
    clusters.iter().find(|c| {
        let weight = u64::from(c.weight);
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn clusters(weights: &[u32]) -> Vec<WeightedCluster> {
        let one = |(i, w): (usize, &u32)| WeightedCluster {
            cluster: i.to_string().into(),
            weight: *w,
            request_headers: Default::default(),
            response_headers: Default::default(),
        };
        weights.iter().enumerate().map(one).collect()
    }

    fn counts(weights: &[u32]) -> Vec<u32> {
        let clusters = clusters(weights);
        let mut rng = StdRng::seed_from_u64(3);
        let mut counts = vec![0; weights.len()];
        for _ in 0..10_000 {
            if let Some(c) = weighted(&clusters, &mut rng) {
                counts[c.cluster.as_str().parse::<usize>().unwrap()] += 1;
            }
        }
        counts
    }

    #[test]
    fn shares_follow_the_weights() {
        let got = counts(&[90, 10]);
        assert!((8_850..9_150).contains(&got[0]), "{got:?}");
        let got = counts(&[1, 0, 1]);
        assert_eq!(got[1], 0);
        assert!((4_800..5_200).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn nothing_is_chosen_where_nothing_weighs() {
        assert_eq!(counts(&[]), [0u32; 0]);
        assert_eq!(counts(&[0]), [0]);
        assert_eq!(counts(&[0, 0]), [0, 0]);
        assert_eq!(counts(&[u32::MAX]), [10_000]);
        assert_eq!(counts(&[u32::MAX, u32::MAX]).iter().sum::<u32>(), 10_000);
    }
}
