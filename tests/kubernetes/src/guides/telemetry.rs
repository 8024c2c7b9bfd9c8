//! Metrics and access logs as operators read them: one more for each connection and each request.

use anyhow::{Result, ensure};

use super::workloads::NAMESPACE;
use crate::guide::routing::versions;
use crate::metrics::Proxies;
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, script};
use crate::wait::until;

const CONNECTIONS: u32 = 25;
const REQUESTS: u32 = 50;
/// Labels of connections from curl to httpbin, whoever reports them.
const HTTPBIN: [(&str, &str); 9] = [
    ("source_workload", "curl"),
    ("source_workload_namespace", "trade"),
    (
        "source_principal",
        "spiffe://cluster.local/ns/trade/sa/curl",
    ),
    ("destination_workload", "httpbin"),
    ("destination_service", "httpbin.trade.svc.cluster.local"),
    (
        "destination_principal",
        "spiffe://cluster.local/ns/trade/sa/httpbin",
    ),
    ("connection_security_policy", "mutual_tls"),
    ("request_protocol", "tcp"),
    ("response_flags", "-"),
];
/// Labels of requests from curl to reviews.
const REVIEWS: [(&str, &str); 7] = [
    ("reporter", "waypoint"),
    ("source_workload", "curl"),
    (
        "source_principal",
        "spiffe://cluster.local/ns/default/sa/curl",
    ),
    ("destination_service", "reviews.default.svc.cluster.local"),
    (
        "destination_principal",
        "spiffe://cluster.local/ns/default/sa/bookinfo-reviews",
    ),
    ("response_code", "200"),
    ("connection_security_policy", "mutual_tls"),
];
const WAYPOINT: Proxies<'static> = Proxies {
    namespace: "default",
    selector: "gateway.networking.k8s.io/gateway-name=waypoint",
};

/// Each connection is counted once where it leaves and once where it arrives.
pub(super) fn node_proxies(site: &Site) -> Result<()> {
    let count = |name: &str, reporter: &str| {
        let labels = [&HTTPBIN[..], &[("reporter", reporter)]].concat();
        Proxies::ZTUNNELS.sum(site, name, &labels)
    };
    let metrics = [
        "istio_tcp_connections_opened_total",
        "istio_tcp_connections_closed_total",
    ];
    let reporters = ["source", "destination"];
    let mut before = Vec::new();
    for (metric, reporter) in pairs(metrics, reporters) {
        before.push(count(metric, reporter)?);
    }
    let lines = log_lines(site)?;
    let bytes = count("istio_tcp_received_bytes_total", "destination")?;
    let one = "curl -s -o /dev/null -w '%{http_code}\\n' http://httpbin:8000/get";
    let asked = format!("for i in $(seq {CONNECTIONS}); do {one}; done");
    let seen = script(site, NAMESPACE, &asked)?;
    ensure!(seen == exactly([("200", CONNECTIONS)]), "{seen:?}");
    until("one more for each connection", || {
        for ((metric, reporter), before) in pairs(metrics, reporters).zip(&before) {
            let more = count(metric, reporter)? - before;
            ensure!(
                more == u64::from(CONNECTIONS),
                "{metric} of the {reporter}: {more} more"
            );
        }
        let more = log_lines(site)? - lines;
        ensure!(
            more == usize::try_from(CONNECTIONS)?,
            "{more} more log lines"
        );
        Ok(())
    })?;
    let bytes = count("istio_tcp_received_bytes_total", "destination")? - bytes;
    ensure!(bytes > 0, "no bytes");
    saw(&format!(
        "{CONNECTIONS} connections: {CONNECTIONS} opened and closed at source and destination, mutual_tls, \
         {bytes} bytes; {CONNECTIONS} log lines"
    ));
    Ok(())
}

fn pairs<'a>(
    metrics: [&'a str; 2],
    reporters: [&'a str; 2],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    metrics.into_iter().flat_map(move |metric| {
        reporters
            .into_iter()
            .map(move |reporter| (metric, reporter))
    })
}

/// Lines of access logs about connections from curl to httpbin, where they left.
fn log_lines(site: &Site) -> Result<usize> {
    let log = [
        "logs",
        "--namespace=istio-system",
        "--selector=app=ztunnel",
        "--tail=-1",
    ];
    let log = site.kubectl(&log)?;
    let words = [
        "access",
        "connection complete",
        r#"src.identity="spiffe://cluster.local/ns/trade/sa/curl""#,
        r#"dst.service="httpbin.trade.svc.cluster.local""#,
        r#"direction="outbound""#,
    ];
    let lines = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    Ok(lines.count())
}

/// Each request is counted once, with the version that answered it.
pub(super) fn waypoint(site: &Site) -> Result<()> {
    let count = |name: &str, more: &[(&str, &str)]| {
        WAYPOINT.sum(site, name, &[&REVIEWS[..], more].concat())
    };
    let of = |version: &str| {
        let workload = format!("reviews-{version}");
        let labels = [
            ("destination_workload", workload.as_str()),
            ("destination_version", version),
        ];
        count("istio_requests_total", &labels)
    };
    let names = ["v1", "v2", "v3"];
    let mut before = Vec::new();
    for version in names {
        before.push(of(version)?);
    }
    let durations = count("istio_request_duration_milliseconds_count", &[])?;
    let lines = lines(site)?;
    let seen = versions(site, REQUESTS, "")?;
    until("one more for each request", || {
        for (version, before) in names.iter().zip(&before) {
            let more = of(version)? - before;
            let expected = seen
                .get(&format!("reviews-{version}"))
                .copied()
                .unwrap_or(0);
            ensure!(
                more == u64::from(expected),
                "{version}: {more} more instead of {expected}"
            );
        }
        let more = count("istio_request_duration_milliseconds_count", &[])? - durations;
        ensure!(more == u64::from(REQUESTS), "{more} more durations");
        let more = self::lines(site)? - lines;
        ensure!(more == usize::try_from(REQUESTS)?, "{more} more log lines");
        Ok(())
    })?;
    saw(&format!(
        "{REQUESTS} requests: istio_requests_total by version as answered ({seen:?}), as many durations and lines"
    ));
    Ok(())
}

/// Lines of the waypoint's access log about reviews.
fn lines(site: &Site) -> Result<usize> {
    let log = site.kubectl(&["logs", "deploy/waypoint", "--tail=-1"])?;
    let lines = log.lines().filter(|line| {
        line.contains("\"GET /reviews/")
            && line.contains(" 200 ")
            && line.contains("\"reviews:9080\"")
    });
    Ok(lines.count())
}
