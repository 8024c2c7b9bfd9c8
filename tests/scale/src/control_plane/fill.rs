//! Puts the made-up cluster into the API server, as fast as it takes it. What is there already stays.

use super::population::{Made, Population, namespace};
use crate::api::Api;
use crate::figures::say;
use ambit_cluster::{Directory, kubectl};
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The system namespace.
pub(crate) const SYSTEM: &str = "istio-system";
/// Kubernetes' own controllers have this long to catch up.
const SETTLED: Duration = Duration::from_secs(300);
/// Requests at the same time.
const AT_ONCE: usize = 48;
const LOOK: Duration = Duration::from_secs(1);

/// Definitions of kinds and the system namespace, as an installation leaves them.
pub(crate) async fn install(api: &Api, directory: &Directory, crds: &Path) -> Result<()> {
    let applied = kubectl(directory)?
        .args(["apply", "--server-side", "--force-conflicts", "-k"])
        .arg(crds)
        .output()
        .context("start kubectl")?;
    ensure!(
        applied.status.success(),
        "kubectl apply: {}",
        String::from_utf8_lossy(&applied.stderr)
    );
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
    api.create("/api/v1/namespaces", &namespace).await?;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ztunnel"}});
    api.create(
        &format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts"),
        &account,
    )
    .await
}

/// Fills.
pub(crate) async fn fill(api: &Api, population: &Population) -> Result<()> {
    let start = Instant::now();
    put(api, population.ground().into_iter()).await?;
    for n in 0..population.namespaces {
        let account = format!(
            "/api/v1/namespaces/{}/serviceaccounts/default",
            namespace(n)
        );
        wait(&format!("the account of {}", namespace(n)), async || {
            Ok(api.get(&account).await?.is_some())
        })
        .await?;
    }
    put(api, population.services().into_iter()).await?;
    let pods = put(api, population.pods()).await?;
    say(&format!(
        "filled: {pods} pods in {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    // Slices are Kubernetes' own: one for each service, with all its pods ready.
    let last = namespace(population.namespaces - 1);
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{last}/endpointslices");
    let wanted = population.pods_of_service() * population.services_of_namespace();
    wait("EndpointSlices", async || {
        let slices = api.get(&path).await?.unwrap_or_default();
        Ok(ready(&slices) >= wanted)
    })
    .await?;
    say(&format!(
        "endpoint slices are there after {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Puts many, several at a time; ends with the first that fails.
async fn put(api: &Api, made: impl Iterator<Item = Made>) -> Result<usize> {
    let mut done = stream::iter(made.map(|made| one(api, made))).buffer_unordered(AT_ONCE);
    let mut count = 0;
    while let Some(one) = done.next().await {
        one?;
        count += 1;
    }
    Ok(count)
}

async fn one(api: &Api, made: Made) -> Result<()> {
    api.create(&made.path, &made.object).await?;
    let Some(status) = made.status else {
        return Ok(());
    };
    let name = made.object["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(&format!("{}/{name}/status", made.path), &status)
        .await
}

fn ready(slices: &Value) -> usize {
    let slices = slices["items"].as_array().into_iter().flatten();
    slices
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

/// Waits until something is so.
pub(crate) async fn wait(what: &str, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + SETTLED;
    while !is().await? {
        ensure!(Instant::now() < end, "{what}: not in {SETTLED:?}");
        sleep(LOOK).await;
    }
    Ok(())
}
