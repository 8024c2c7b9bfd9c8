//! What the waypoint's metrics say of requests.

use crate::stage::{REVIEWS, SOON, Stage};
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Labels of a request from client to v2 of reviews; which response code, flags and destination it had
/// is added.
const COMMON: [(&str, &str); 18] = [
    ("reporter", "waypoint"),
    ("source_workload", "client"),
    ("source_workload_namespace", "bookinfo"),
    ("source_canonical_service", "client"),
    ("source_canonical_revision", "v1"),
    ("source_app", "client"),
    ("source_version", "v1"),
    (
        "source_principal",
        "spiffe://cluster.local/ns/bookinfo/sa/client",
    ),
    ("source_cluster", "Kubernetes"),
    ("source_region", "lab"),
    ("source_zone", "lab-n1"),
    ("destination_service", "reviews.bookinfo.svc.cluster.local"),
    ("destination_service_name", "reviews"),
    ("destination_service_namespace", "bookinfo"),
    ("request_protocol", "http"),
    ("connection_security_policy", "mutual_tls"),
    ("grpc_response_status", "unknown"),
    ("destination_workload_namespace", "bookinfo"),
];

/// Requests by outcome.
const COUNTS: [(f64, &[(&str, &str)]); 4] = [
    (
        7.0,
        &[
            ("response_code", "200"),
            ("response_flags", "-"),
            ("destination_workload", "reviews-v2"),
        ],
    ),
    (
        3.0,
        &[
            ("response_code", "418"),
            ("response_flags", "-"),
            ("destination_workload", "reviews-v2"),
        ],
    ),
    (
        5.0,
        &[
            ("response_code", "503"),
            ("response_flags", "FI"),
            ("destination_workload", "unknown"),
        ],
    ),
    (
        2.0,
        &[
            ("response_code", "404"),
            ("response_flags", "NR"),
            ("destination_workload", "unknown"),
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_once_with_both_ends_and_its_outcome() -> Result<()> {
    let Some(stage) = Stage::up("l7metrics").await? else {
        return Ok(());
    };
    let http = "    - match: [{uri: {prefix: /echo/abort}}]\n      \
                fault: {abort: {httpStatus: 503, percentage: {value: 100}}}\n      \
                route: [{destination: {host: reviews, subset: v2}}]\n    \
                - match: [{uri: {prefix: /echo}}]\n      \
                route: [{destination: {host: reviews, subset: v2}}]\n";
    stage.rules("metrics", http).await?;
    for (n, path) in [
        ("7", "/echo"),
        ("3", "/echo?status=418"),
        ("5", "/echo/abort"),
        ("2", "/none"),
    ] {
        stage
            .client(&["-n", n, &format!("{REVIEWS}{path}")])
            .await?;
    }
    for (n, labels) in COUNTS {
        until(&format!("{n} × {labels:?}"), SOON, || async {
            let scrape = stage.metrics().await.map_err(|e| format!("{e:#}"))?;
            match scrape.sum("istio_requests_total", labels) {
                sum if sum == n => Ok(()),
                sum => Err(format!("{sum}")),
            }
        })
        .await?;
    }
    every_label(&stage.metrics().await?)?;
    stage.lab.down().await;
    Ok(())
}

/// The series of the seven has these labels and no others, in the counter and the histograms.
fn every_label(scrape: &Scrape) -> Result<()> {
    let of_200 = [
        ("response_code", "200"),
        ("destination_workload", "reviews-v2"),
    ];
    let samples: Vec<_> = scrape.matching("istio_requests_total", &of_200).collect();
    ensure!(samples.len() == 1, "one series: {samples:#?}");
    let mut expected: BTreeMap<&str, &str> = COMMON.into_iter().collect();
    expected.extend([
        ("response_code", "200"),
        ("response_flags", "-"),
        ("destination_workload", "reviews-v2"),
        ("destination_canonical_service", "reviews"),
        ("destination_canonical_revision", "v2"),
        ("destination_app", "reviews"),
        ("destination_version", "v2"),
        (
            "destination_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews",
        ),
        ("destination_cluster", "Kubernetes"),
        ("destination_region", "lab"),
        ("destination_zone", "lab-n2"),
    ]);
    let unknown: Vec<_> = samples[0]
        .labels
        .keys()
        .filter(|name| !expected.contains_key(name.as_str()))
        .collect();
    ensure!(
        unknown.is_empty(),
        "no other labels: {unknown:?} {samples:#?}"
    );
    for (name, value) in &expected {
        let found = samples[0].labels.get(*name).map(String::as_str);
        ensure!(
            found == Some(value),
            "{name}: {found:?}, not {value}: {samples:#?}"
        );
    }
    for family in [
        "istio_request_duration_milliseconds",
        "istio_request_bytes",
        "istio_response_bytes",
    ] {
        let counted = scrape.sum(&format!("{family}_count"), &of_200);
        let all = [of_200[0], of_200[1], ("le", "+Inf")];
        let beyond = scrape.sum(&format!("{family}_bucket"), &all);
        let sum = scrape.sum(&format!("{family}_sum"), &of_200);
        ensure!(
            counted == 7.0 && beyond == 7.0 && sum > 0.0,
            "{family}: {counted} {beyond} {sum}"
        );
    }
    Ok(())
}
