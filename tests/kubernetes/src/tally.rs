//! Answers, counted.
//! In: lines. Out: how many there are of each; how far a share is from what was asked for.
//! Numbers of requests are fixed and every one of them is in a count: a route that is not followed once shows.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::command::output;
use crate::site::Site;

/// Standard deviations that a count of a split may be off.
const SIGMAS: f64 = 4.0;

/// Lines and how often they came.
pub(crate) type Tally = BTreeMap<String, u32>;

/// Counts lines.
pub(crate) fn tally(text: &str) -> Tally {
    let mut tally = Tally::new();
    for line in text.lines() {
        *tally.entry(line.to_owned()).or_default() += 1;
    }
    tally
}

/// What a tally is that holds just this.
pub(crate) fn exactly<const N: usize>(lines: [(&str, u32); N]) -> Tally {
    lines
        .into_iter()
        .map(|(line, count)| (line.to_owned(), count))
        .collect()
}

/// Lines that a script prints in the `curl` pod of a namespace.
pub(crate) fn script(site: &Site, namespace: &str, script: &str) -> Result<Tally> {
    let namespace = format!("--namespace={namespace}");
    let words = ["exec", &namespace, "deploy/curl", "--", "sh", "-c", script];
    Ok(tally(&output(&mut site.kubectl_command(&words)?)?))
}

/// Statuses of requests one after the other; `url` has a range like `[1-9]`, `more` is for curl.
pub(crate) fn statuses(site: &Site, namespace: &str, more: &str, url: &str) -> Result<Tally> {
    let format = "%{http_code}\\n";
    script(
        site,
        namespace,
        &format!("curl -s -o /dev/null -w '{format}' --max-time 15 {more} '{url}'"),
    )
}

/// Fails unless `one` and `other` have all of the requests, and `other` its share of them. Says how far it is off,
/// in standard deviations.
pub(crate) fn split(seen: &Tally, one: &str, other: (&str, f64), requests: u32) -> Result<f64> {
    let of = |line: &str| seen.get(line).copied().unwrap_or_default();
    ensure!(
        of(one) + of(other.0) == requests && seen.values().sum::<u32>() == requests,
        "{requests} requests, but {seen:?}"
    );
    let expected = f64::from(requests) * other.1;
    let sigma = (expected * (1.0 - other.1)).sqrt();
    let off = (f64::from(of(other.0)) - expected).abs() / sigma;
    ensure!(off <= SIGMAS, "{seen:?} is {off:.1} sigma off");
    Ok(off)
}

#[cfg(test)]
mod tests {
    use super::{exactly, split, tally};

    #[test]
    fn every_line_is_counted() {
        assert_eq!(tally("a\nb\na\n"), exactly([("a", 2), ("b", 1)]));
    }

    #[test]
    fn a_split_has_its_share_and_nothing_else() {
        let fine = exactly([("v1", 910), ("v2", 90)]);
        assert!(split(&fine, "v1", ("v2", 0.1), 1000).unwrap() < 2.0);
        for wrong in [
            exactly([("v1", 960), ("v2", 40)]),
            exactly([("v1", 909), ("v2", 90)]),
            exactly([("v1", 909), ("v2", 90), ("v3", 1)]),
        ] {
            assert!(split(&wrong, "v1", ("v2", 0.1), 1000).is_err(), "{wrong:?}");
        }
    }
}
