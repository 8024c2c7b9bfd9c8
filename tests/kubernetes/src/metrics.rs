//! Metrics as a scraper reads them, by the API server.
//! In: pods. Out: the sum of a metric over them, by labels.

use anyhow::{Context as _, Result, ensure};

use crate::site::Site;

/// Where every proxy has them.
const PORT: u16 = 15020;

/// Pods of a Deployment or DaemonSet, chosen by labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxies<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) selector: &'a str,
}

impl Proxies<'static> {
    /// The node proxies.
    pub(crate) const ZTUNNELS: Self = Self {
        namespace: "istio-system",
        selector: "app=ztunnel",
    };
}

impl Proxies<'_> {
    /// What each of them says, by the pod's name.
    pub(crate) fn scrape(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let namespace = format!("--namespace={}", self.namespace);
        let pods = site.get(&["pods", &namespace, "--selector", self.selector])?;
        let pods = pods["items"].as_array().context("a list of pods")?;
        ensure!(!pods.is_empty(), "no pods are {self:?}");
        let names = pods
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str());
        let one = |name: &str| {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{name}:{PORT}/proxy/metrics",
                self.namespace
            );
            Ok((name.to_owned(), site.kubectl(&["get", "--raw", &path])?))
        };
        names.map(one).collect()
    }

    /// The sum of a counter over all of them, of the series with these labels.
    pub(crate) fn sum(&self, site: &Site, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let texts = self.scrape(site)?;
        Ok(texts.iter().map(|(_, text)| sum(text, name, labels)).sum())
    }
}

/// The sum of a counter in one text.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'))
        .filter_map(|line| line.rsplit_once("} "))
        .filter(|(found, _)| wanted.iter().all(|label| has(found, label)))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum()
}

/// Whether a series has a label: none that only ends like it.
fn has(found: &str, label: &str) -> bool {
    found.starts_with(label) || found.contains(&format!(",{label}"))
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_with_all_labels_are_added_up() {
        let text = "# HELP a_total A.\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\n\
                    a_total{x=\"2\",y=\"2\"} 5\na_total_more{x=\"1\"} 6\na_total{xx=\"1\"} 7\n";
        assert_eq!(sum(text, "a_total", &[("x", "1")]), 7);
        assert_eq!(sum(text, "a_total", &[("y", "2"), ("x", "1")]), 3);
        assert_eq!(sum(text, "a_total", &[("x", "3")]), 0);
    }
}
