//! "Configure waypoint proxies": for a Service, for a pod, for both, for none, and for another namespace.

use anyhow::{Context as _, Result, ensure};

use super::workloads;
use crate::flow::ask;
use crate::guide::routing::versions;
use crate::metrics::Proxies;
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, statuses};
use crate::wait::until;

const SHARED: &str = include_str!("../manifests/guides/shared-waypoint.yaml");
const ONLY_GET: &str = include_str!("../manifests/guides/only-get.yaml");
const REQUESTS: u32 = 20;
const LABEL: &str = "istio.io/use-waypoint";

/// A waypoint by its name.
struct Waypoint {
    namespace: &'static str,
    selector: String,
}

impl Waypoint {
    fn named(namespace: &'static str, name: &str) -> Self {
        Self {
            namespace,
            selector: format!("gateway.networking.k8s.io/gateway-name={name}"),
        }
    }

    /// Requests it has served for one destination.
    fn served(&self, site: &Site, label: (&str, &str)) -> Result<u64> {
        let proxies = Proxies {
            namespace: self.namespace,
            selector: &self.selector,
        };
        proxies.sum(
            site,
            "istio_requests_total",
            &[("reporter", "waypoint"), label],
        )
    }
}

/// In the namespace of bookinfo, which has a waypoint for all its Services.
pub(super) fn finer(site: &Site) -> Result<()> {
    of_a_service(site)?;
    of_a_pod(site)?;
    of_everything(site)?;
    of_nothing(site)
}

fn of_a_service(site: &Site) -> Result<()> {
    apply(site, &["--name", "reviews-svc-waypoint"])?;
    site.kubectl(&[
        "label",
        "service",
        "reviews",
        &format!("{LABEL}=reviews-svc-waypoint"),
    ])?;
    let ours = Waypoint::named("default", "reviews-svc-waypoint");
    let others = Waypoint::named("default", "waypoint");
    until("the Services' waypoints", || {
        let table = site.ambit(&[
            "ztunnel-config",
            "service",
            "--service-namespace",
            "default",
        ])?;
        ensure!(
            column(&table, "reviews")? == "reviews-svc-waypoint"
                && column(&table, "ratings")? == "waypoint",
            "{table}"
        );
        Ok(())
    })?;
    let reviews = ("destination_service", "reviews.default.svc.cluster.local");
    through(site, &ours, reviews, || {
        versions(site, REQUESTS, "").map(drop)
    })?;
    let ratings = ("destination_service", "ratings.default.svc.cluster.local");
    through(site, &others, ratings, || {
        all_fine(site, &format!("http://ratings:9080/ratings/[1-{REQUESTS}]"))
    })?;
    saw("reviews by reviews-svc-waypoint, ratings by the waypoint of the namespace");
    Ok(())
}

fn of_a_pod(site: &Site) -> Result<()> {
    apply(
        site,
        &["--name", "reviews-v2-pod-waypoint", "--for", "workload"],
    )?;
    let (name, ip) = reviews_v2(site)?;
    let label = format!("{LABEL}=reviews-v2-pod-waypoint");
    site.kubectl(&["label", "pod", "-l", "version=v2,app=reviews", &label])?;
    until("the pod's waypoint", || {
        let table = site.ambit(&[
            "ztunnel-config",
            "workload",
            "--workload-namespace",
            "default",
        ])?;
        let line = table.lines().find(|line| line.contains(&name));
        let line = line.with_context(|| format!("no {name} in {table}"))?;
        ensure!(line.contains("reviews-v2-pod-waypoint"), "{line}");
        Ok(())
    })?;
    let waypoint = Waypoint::named("default", "reviews-v2-pod-waypoint");
    let pod = ("destination_workload", "reviews-v2");
    through(site, &waypoint, pod, || {
        all_fine(site, &format!("http://{ip}:9080/reviews/[1-{REQUESTS}]"))
    })?;
    saw("requests to the address of reviews-v2 by reviews-v2-pod-waypoint");
    site.kubectl(&[
        "label",
        "pod",
        "-l",
        "version=v2,app=reviews",
        &format!("{LABEL}-"),
    ])?;
    site.kubectl(&["label", "service", "reviews", &format!("{LABEL}-")])?;
    for waypoint in ["reviews-svc-waypoint", "reviews-v2-pod-waypoint"] {
        site.ambit(&["waypoint", "delete", waypoint])?;
    }
    Ok(())
}

/// Service addresses and pods' own by one waypoint.
fn of_everything(site: &Site) -> Result<()> {
    apply(site, &["--name", "all-waypoint", "--for", "all"])?;
    let label = format!("{LABEL}=all-waypoint");
    site.kubectl(&["label", "namespace", "default", "--overwrite", &label])?;
    let waypoint = Waypoint::named("default", "all-waypoint");
    let (name, ip) = reviews_v2(site)?;
    until("the waypoint of everything", || {
        let services = site.ambit(&[
            "ztunnel-config",
            "service",
            "--service-namespace",
            "default",
        ])?;
        let pods = site.ambit(&[
            "ztunnel-config",
            "workload",
            "--workload-namespace",
            "default",
        ])?;
        let pod = pods
            .lines()
            .find(|line| line.contains(&name))
            .unwrap_or_default();
        ensure!(
            column(&services, "reviews")? == "all-waypoint" && pod.contains("all-waypoint"),
            "{services}{pods}"
        );
        Ok(())
    })?;
    let pod = ("destination_workload", "reviews-v2");
    through(site, &waypoint, pod, || {
        all_fine(site, &format!("http://{ip}:9080/reviews/[1-{REQUESTS}]"))
    })?;
    let ratings = ("destination_service", "ratings.default.svc.cluster.local");
    through(site, &waypoint, ratings, || {
        all_fine(site, &format!("http://ratings:9080/ratings/[1-{REQUESTS}]"))
    })?;
    saw("a waypoint for all: a Service's requests and those to a pod's address");
    let label = format!("{LABEL}=waypoint");
    site.kubectl(&["label", "namespace", "default", "--overwrite", &label])?;
    site.ambit(&["waypoint", "delete", "all-waypoint"])
        .map(drop)
}

/// A Service that wants none though its namespace has one.
fn of_nothing(site: &Site) -> Result<()> {
    site.kubectl(&["label", "service", "ratings", &format!("{LABEL}=none")])?;
    until("no waypoint for ratings", || {
        let table = site.ambit(&[
            "ztunnel-config",
            "service",
            "--service-namespace",
            "default",
        ])?;
        ensure!(
            column(&table, "ratings")? == "None" && column(&table, "reviews")? == "waypoint",
            "{table}"
        );
        Ok(())
    })?;
    let waypoint = Waypoint::named("default", "waypoint");
    let ratings = ("destination_service", "ratings.default.svc.cluster.local");
    let before = waypoint.served(site, ratings)?;
    all_fine(site, &format!("http://ratings:9080/ratings/[1-{REQUESTS}]"))?;
    // The next one is counted, so those before would be.
    let reviews = ("destination_service", "reviews.default.svc.cluster.local");
    through(site, &waypoint, reviews, || {
        versions(site, REQUESTS, "").map(drop)
    })?;
    let after = waypoint.served(site, ratings)?;
    ensure!(after == before, "{before}, then {after}");
    saw("use-waypoint=none at a Service: its requests pass the namespace's waypoint by");
    site.kubectl(&["label", "service", "ratings", &format!("{LABEL}-")])
        .map(drop)
}

/// A waypoint in one namespace for another.
pub(super) fn shared(site: &Site) -> Result<()> {
    let trade = workloads::NAMESPACE;
    site.kubectl(&["create", "namespace", "shared"])?;
    site.apply(SHARED)?;
    let ready = [
        "wait",
        "--namespace=shared",
        "--for=condition=Programmed",
        "gtw/shared-waypoint",
    ];
    site.kubectl(&[&ready[..], &["--timeout=60s"]].concat())?;
    let labels = [
        "istio.io/use-waypoint-namespace=shared".to_owned(),
        format!("{LABEL}=shared-waypoint"),
    ];
    site.kubectl(&["label", "namespace", trade, &labels[0], &labels[1]])?;
    until("the Service's waypoint", || {
        let table = site.ambit(&["ztunnel-config", "service", "--service-namespace", trade])?;
        ensure!(
            column(&table, "httpbin")?.ends_with("shared-waypoint"),
            "{table}"
        );
        Ok(())
    })?;
    let waypoint = Waypoint::named("shared", "shared-waypoint");
    let httpbin = ("destination_service", "httpbin.trade.svc.cluster.local");
    let url = format!("http://httpbin:8000/get?[1-{REQUESTS}]");
    through(site, &waypoint, httpbin, || {
        let seen = statuses(site, trade, "", &url)?;
        ensure!(seen == exactly([("200", REQUESTS)]), "{seen:?}");
        Ok(())
    })?;
    site.apply_in(trade, ONLY_GET)?;
    until("the policy at the other namespace's waypoint", || {
        let answer = ask(site, trade, "http://httpbin:8000/delete", &["-X", "DELETE"])?;
        ensure!(answer.status == "403", "{answer:?}");
        Ok(())
    })?;
    let deleted = format!("http://httpbin:8000/delete?[1-{REQUESTS}]");
    let refused = statuses(site, trade, "-X DELETE", &deleted)?;
    let fine = statuses(site, trade, "", &url)?;
    ensure!(
        refused == exactly([("403", REQUESTS)]) && fine == exactly([("200", REQUESTS)]),
        "{refused:?} {fine:?}"
    );
    saw(&format!(
        "by shared/shared-waypoint: GET {fine:?}, DELETE {refused:?} by a policy of the namespace"
    ));
    not_allowed(site)
}

/// A namespace that the waypoint does not allow gets none, and is told.
fn not_allowed(site: &Site) -> Result<()> {
    let labels = [
        "istio.io/use-waypoint-namespace=shared".to_owned(),
        format!("{LABEL}=shared-waypoint"),
    ];
    site.kubectl(&["label", "service", "ratings", &labels[0], &labels[1]])?;
    let message = until("the reason at the Service", || {
        let service = site.get(&["service", "ratings"])?;
        let conditions = service["status"]["conditions"].as_array();
        let conditions = conditions.context("no conditions yet")?;
        let refused = conditions
            .iter()
            .find(|condition| condition["status"] == "False");
        let refused = refused.with_context(|| format!("{conditions:?}"))?;
        ensure!(refused["reason"] == "AttachmentDenied", "{refused}");
        Ok(refused["message"].to_string())
    })?;
    saw(&format!("Service default/ratings: {message}"));
    all_fine(site, &format!("http://ratings:9080/ratings/[1-{REQUESTS}]"))?;
    site.kubectl(&[
        "label",
        "service",
        "ratings",
        "istio.io/use-waypoint-namespace-",
        &format!("{LABEL}-"),
    ])
    .map(drop)
}

fn apply(site: &Site, more: &[&str]) -> Result<()> {
    let words = ["waypoint", "apply", "-n", "default", "--wait"];
    site.ambit(&[&words[..], more].concat()).map(drop)
}

/// Fails unless a waypoint serves exactly the requests that `make` makes.
fn through(
    site: &Site,
    waypoint: &Waypoint,
    label: (&str, &str),
    make: impl Fn() -> Result<()>,
) -> Result<()> {
    let before = waypoint.served(site, label)?;
    make()?;
    until("the waypoint's count", || {
        let more = waypoint.served(site, label)? - before;
        ensure!(more == u64::from(REQUESTS), "{more} more of {REQUESTS}");
        Ok(())
    })
}

/// Requests of curl in `default`, all answered with 200.
fn all_fine(site: &Site, url: &str) -> Result<()> {
    let seen = statuses(site, "default", "", url)?;
    ensure!(seen == exactly([("200", REQUESTS)]), "{seen:?}");
    Ok(())
}

/// Name and address of the pod of reviews v2.
fn reviews_v2(site: &Site) -> Result<(String, String)> {
    let pods = site.get(&["pods", "-l", "version=v2,app=reviews"])?;
    let pod = &pods["items"][0];
    let name = pod["metadata"]["name"].as_str().context("a pod")?;
    let ip = pod["status"]["podIP"].as_str().context("its address")?;
    Ok((name.to_owned(), ip.to_owned()))
}

/// The waypoint of a Service in a table of them.
fn column(table: &str, service: &str) -> Result<String> {
    let mut lines = table.lines();
    let heading = lines.next().context("no table")?;
    let at = heading
        .find("WAYPOINT")
        .with_context(|| format!("no column: {table}"))?;
    let line = lines.find(|line| line.split_whitespace().nth(1) == Some(service));
    let line = line.with_context(|| format!("no {service} in {table}"))?;
    let cell = line.get(at..).unwrap_or_default();
    Ok(cell
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}
