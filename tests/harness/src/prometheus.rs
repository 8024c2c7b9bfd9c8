//! Reading a metrics page. Pure.
//! In: Prometheus text 0.0.4 or OpenMetrics 1.0. Out: samples by name and labels.
//! Spec: the exposition formats; exemplars and timestamps are skipped.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name, suffixes included
    pub name: String,
    /// Labels
    pub labels: BTreeMap<String, String>,
    /// Value
    pub value: f64,
}

/// All samples of one page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape(pub Vec<Sample>);

impl Scrape {
    /// Reads a page; lines that are no samples are skipped.
    pub fn parse(page: &str) -> Self {
        Self(
            page.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    /// Samples of `name` that have all of `labels`.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    /// Their sum; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (_, other) => text.push(other),
            }
        };
        labels.insert(key.to_owned(), text);
        rest = value.get(end + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_names_labels_and_values_and_comments_have_none() {
        let page = "# HELP x y\n# TYPE x counter\n\
                    x_total{a=\"1\",b=\"q\\\"uo,te}\"} 3 # {trace=\"t\"} 1\n\
                    x_total{a=\"2\"} 4.5 1700000000\nplain 7\nbroken{a=\"1\n\n# EOF\n";
        let scrape = Scrape::parse(page);
        assert_eq!(scrape.0.len(), 3);
        assert_eq!(scrape.0[0].labels["b"], "q\"uo,te}");
        assert_eq!(scrape.sum("x_total", &[]), 7.5);
        assert_eq!(scrape.sum("x_total", &[("a", "2")]), 4.5);
        assert_eq!(scrape.sum("gone", &[]), 0.0);
    }
}
