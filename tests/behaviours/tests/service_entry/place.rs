//! A town with servers outside the mesh, and the questions tests ask of it.
//! In: nothing but root. Out: a lab; connections and requests of the client by name; statuses.

use ambit_behaviours::town::{SOON, TOWN, Town, town_of};
use ambit_harness::client::{HttpSummary, TcpSummary};
use ambit_harness::prometheus::Scrape;
use ambit_harness::{Families, until};
use anyhow::{Context, Result};

/// A web server outside the mesh, with names of the cluster's DNS for it and for the echo server there.
const MORE: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: outside, labels: {app: web}}
spec:
  nodeName: node-2
  hostname: web-0
  subdomain: web
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: ambit/bookinfo
    args: [details]
    readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: outside}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: outside}
spec: {clusterIP: None, selector: {app: plain}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: outside}
spec: {clusterIP: 10.96.2.7, selector: {app: web}, ports: [{name: http, port: 9080}]}
";

/// A town with them.
pub(crate) async fn place() -> Result<Option<Town>> {
    place_with("").await
}

/// A town with them and more documents.
pub(crate) async fn place_with(more: &str) -> Result<Option<Town>> {
    let base = include_str!("../../src/town.yaml");
    let yaml = format!("{base}{MORE}{more}");
    town_of(Families::V4, &yaml).await
}

/// What the town's waypoint has counted.
pub(crate) async fn counted(town: &Town, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let pods = town.lab.pods().into_iter();
    let mut found =
        pods.filter(|((namespace, pod), _)| namespace == TOWN && pod.starts_with("waypoint"));
    let (_, pod) = found.next().context("no pod of the waypoint")?;
    let page = town.lab.pod_page(&pod, 15020, "/metrics").await?;
    Ok(Scrape::parse(&page).sum(name, labels))
}

/// A ServiceEntry of the town.
pub(crate) fn entry(name: &str, labels: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: {TOWN}, labels: {{{labels}}}}}\nspec: {spec}\n"
    )
}

/// What the controller says of an object of the town.
pub(crate) fn status(town: &Town, plural: &str, name: &str) -> String {
    let status = town.lab.directory().join(".status/controller").join(plural);
    let path = status.join(TOWN).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until that has all of `words`.
pub(crate) async fn says(town: &Town, (plural, name): (&str, &str), words: &[&str]) -> Result<()> {
    until(&format!("status of {plural} {name}"), SOON, || async {
        let text = status(town, plural, name);
        match words.iter().find(|word| !text.contains(**word)) {
            None => Ok(()),
            Some(word) => Err(format!("no {word} in {text}")),
        }
    })
    .await?;
    Ok(())
}

/// One connection of the client to `host:port`.
pub(crate) async fn tcp(town: &Town, to: &str) -> Result<TcpSummary> {
    let output = town
        .lab
        .exec(TOWN, "client", ["bookinfo", "tcp", to])
        .await?;
    Ok(output.summary()?)
}

/// Waits until the client's connection to `host:port` is greeted by `pod`.
pub(crate) async fn reaches(town: &Town, to: &str, pod: &str) -> Result<TcpSummary> {
    let what = format!("{to} leads to {pod}");
    let done = until(&what, SOON, || async {
        match tcp(town, to).await {
            Ok(s) if s.completed == 1 && s.pods.contains_key(pod) => Ok(s),
            other => Err(format!("{other:?}")),
        }
    });
    Ok(done.await?)
}

/// One request of the client.
pub(crate) async fn http(town: &Town, args: &[&str]) -> Result<HttpSummary> {
    Ok(town.lab.http(TOWN, "client", args).await?)
}

/// Waits until the client's request gives `status`.
pub(crate) async fn gives(town: &Town, url: &str, status: u16) -> Result<()> {
    until(&format!("{url} gives {status}"), SOON, || async {
        match http(town, &[url]).await {
            Ok(answer) if answer.statuses.get(&status) == Some(&1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
