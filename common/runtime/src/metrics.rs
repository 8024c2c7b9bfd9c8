//! The metrics endpoint: a registry in, OpenMetrics or Prometheus text out, by `Accept`.
//! Spec: OpenMetrics 1.0; Prometheus text exposition format 0.0.4.

use crate::admin::{Reply, Routes};
use http::header::{ACCEPT, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// Registers a counter that somebody else keeps; `name` without `_total`.
pub fn counter(
    registry: &mut Registry,
    (name, help): (&'static str, &'static str),
    read: impl Fn() -> u64 + Send + Sync + 'static,
) {
    let read = Box::new(read);
    registry.register_collector(Box::new(Counted { name, help, read }));
}

struct Counted {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        ConstCounter::new((self.read)()).encode(metric)
    }
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Adds `GET /metrics` and `GET /stats/prometheus`.
pub fn routes(routes: Routes, registry: Arc<Registry>) -> Routes {
    let other = registry.clone();
    routes
        .get("/metrics", "metrics", move |request| {
            reply(&request.headers, &registry)
        })
        .get("/stats/prometheus", "metrics", move |request| {
            reply(&request.headers, &other)
        })
}

fn reply(headers: &HeaderMap, registry: &Registry) -> Reply {
    let mut body = String::new();
    if prometheus_client::encoding::text::encode(&mut body, registry).is_err() {
        return Reply::error(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            "metrics cannot be encoded\n",
        );
    }
    let wants_openmetrics = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"));
    if wants_openmetrics {
        Reply::bytes(OPENMETRICS, body)
    } else {
        Reply::bytes(TEXT, to_prometheus_text(&body))
    }
}

/// OpenMetrics text in the older format's terms: counters carry `_total` in their `TYPE` and `HELP`
/// lines, `info` is a gauge, `unknown` is `untyped`, and units, exemplars and the end mark are left out.
fn to_prometheus_text(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').or(Some((rest, "")));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" | "stateset" => ("", "untyped"),
                "gaugehistogram" => ("", "histogram"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([without_exemplar(line), "\n"]);
        }
    }
    out
}

fn without_exemplar(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc_by(3);
        registry.register("requests", "Requests", counter);
        crate::build_info::register(&mut registry, "ztunnel");
        registry
    }

    #[test]
    fn prometheus_text_has_counters_under_their_sample_name() {
        let reply = reply(&HeaderMap::new(), &registry());
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(
            body.contains(
                "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 3\n"
            ),
            "{body}"
        );
        assert!(body.contains("# TYPE istio_build gauge\n"));
        assert!(body.contains("component=\"ztunnel\""));
        assert!(!body.contains("# EOF"));
        assert_eq!(reply.content_type, TEXT);
    }

    #[test]
    fn openmetrics_when_asked() {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0"
                .parse()
                .unwrap(),
        );
        let reply = reply(&headers, &registry());
        assert_eq!(reply.content_type, OPENMETRICS);
        assert!(reply.body.ends_with(b"# EOF\n"));
    }

    #[test]
    fn exemplars_are_cut_but_hashes_in_labels_stay() {
        assert_eq!(
            without_exemplar("a_total{x=\"#1\"} 1 # {id=\"9\"} 1"),
            "a_total{x=\"#1\"} 1"
        );
        assert_eq!(without_exemplar("a{x=\"\\\"#\"} 1"), "a{x=\"\\\"#\"} 1");
    }
}
