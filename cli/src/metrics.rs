//! Reading Prometheus text. Pure.

use std::collections::BTreeMap;

/// Values of one counter, summed by one of its labels; series without the label are summed under its
/// absence, the empty text.
pub(crate) fn by_label(text: &str, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => match rest.rsplit_once("} ") {
                Some(parts) => parts,
                None => continue,
            },
            None if rest.starts_with(' ') => ("", rest),
            None => continue,
        };
        let number = value.split_whitespace().next().unwrap_or_default();
        // Counters may be written as `7` or `7.0`.
        let whole = number.split('.').next().unwrap_or_default();
        let Ok(count) = whole.parse::<u64>() else {
            continue;
        };
        let key = value_of(labels, label).unwrap_or_default();
        *found.entry(key.to_owned()).or_default() += count;
    }
    found
}

fn value_of<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    if label.is_empty() {
        return None;
    }
    let start = format!("{label}=\"");
    let at = labels
        .match_indices(&start)
        .find(|(at, _)| *at == 0 || labels[..*at].ends_with(','))?
        .0;
    labels[at + start.len()..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::by_label;

    #[test]
    fn series_are_summed_by_a_label() {
        let text = "# TYPE a counter\na_total{x=\"1\",reason=\"deny\"} 3\na_total{reason=\"deny\",x=\"2\"} 4\n\
                    a_total{reason=\"tls\"} 1.0\nb_total 7\na_total_more{reason=\"deny\"} 100\n";
        let found = by_label(text, "a_total", "reason");
        assert_eq!(found, [("deny".into(), 7), ("tls".into(), 1)].into());
        assert_eq!(by_label(text, "b_total", ""), [(String::new(), 7)].into());
        assert!(by_label(text, "c", "x").is_empty());
        assert!(by_label("a{ 1\na} 1\na{x=\"1\" 5", "a", "x").is_empty());
    }
}
