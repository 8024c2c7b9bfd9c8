//! `ambit waypoint …`: Gateways of the waypoint class, as `istioctl waypoint` has them.
//! In: names, namespaces, labels. Out: Gateway objects applied, printed, deleted or listed; namespaces
//! labelled. The controller makes the pods.

mod show;

use std::time::{Duration, Instant};

use ambit_api::labels;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::cluster::{Chosen as ChosenCluster, Cluster};
use crate::output::{self, Format, Verdict};
use show::programmed;

/// Options of `ambit waypoint`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Namespace; the context's if not given
    #[arg(short = 'n', long, global = true, value_name = "NAME")]
    namespace: Option<String>,
}

#[derive(clap::Args)]
struct Shape {
    /// Name of the waypoint
    #[arg(long, default_value = "waypoint")]
    name: String,
    /// What it serves: service, workload, all or none
    #[arg(long = "for", value_parser = ["service", "workload", "all", "none"])]
    serves: Option<String>,
    /// Revision that runs it
    #[arg(short, long)]
    revision: Option<String>,
}

#[derive(Subcommand)]
enum What {
    /// Make or change a waypoint
    Apply {
        #[command(flatten)]
        shape: Shape,
        /// Send the whole namespace through it
        #[arg(long)]
        enroll_namespace: bool,
        /// Also if the namespace uses another waypoint now
        #[arg(long)]
        overwrite: bool,
        /// Wait until it takes traffic
        #[arg(short, long)]
        wait: bool,
        /// How long to wait
        #[arg(long, default_value = "90s", value_parser = crate::duration::parse)]
        waypoint_timeout: Duration,
    },
    /// Print a waypoint as YAML
    Generate {
        #[command(flatten)]
        shape: Shape,
    },
    /// Delete waypoints
    Delete {
        /// Names
        names: Vec<String>,
        /// Every waypoint of the namespace
        #[arg(long)]
        all: bool,
        /// Every one of this revision
        #[arg(short, long)]
        revision: Option<String>,
    },
    /// List waypoints
    List {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Whether waypoints take traffic, and if not, why
    Status {
        /// Only this one
        name: Option<String>,
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Wait until they do
        #[arg(short, long, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
        wait: bool,
        /// How long to wait
        #[arg(long, default_value = "90s", value_parser = crate::duration::parse)]
        waypoint_timeout: Duration,
    },
}

const API: &str = "gateway.networking.k8s.io/v1";
const KIND: &str = "Gateway";
/// The class of waypoints made here, and those known as waypoints.
const CLASS: &str = "istio-waypoint";
const CLASSES: [&str; 2] = [CLASS, "ambit-waypoint"];
const REVISION: &str = "istio.io/rev";
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs the command.
///
/// # Errors
/// What the server refuses, a name that is no waypoint.
pub(crate) async fn run(args: &Args, place: &ChosenCluster, format: Format) -> Result<Verdict> {
    if let What::Generate { shape } = &args.what {
        let namespace = args.namespace.as_deref();
        output::text(&serde_saphyr::to_string(&gateway(shape, namespace))?);
        return Ok(Verdict::Fine);
    }
    let cluster = place.connect().await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| cluster.namespace.clone());
    match &args.what {
        What::Generate { .. } => Ok(Verdict::Fine),
        What::Apply {
            shape,
            enroll_namespace,
            overwrite,
            wait,
            waypoint_timeout,
        } => {
            if *enroll_namespace {
                check_enrolment(&cluster, &namespace, &shape.name, *overwrite).await?;
            }
            let object = gateway(shape, Some(&namespace));
            cluster.apply(&object, false).await?;
            output::line(format_args!("waypoint {namespace}/{} applied", shape.name));
            if *wait {
                let mine = |g: &Value| g["metadata"]["name"] == shape.name.as_str();
                wait_programmed(&cluster, Some(&namespace), &mine, *waypoint_timeout).await?;
                output::line(format_args!("waypoint {namespace}/{} is ready", shape.name));
            }
            if *enroll_namespace {
                enroll(&cluster, &namespace, &shape.name).await?;
                output::line(format_args!(
                    "namespace {namespace} labelled {}={}",
                    labels::USE_WAYPOINT,
                    shape.name
                ));
            }
            Ok(Verdict::Fine)
        }
        What::Delete {
            names,
            all,
            revision,
        } => delete(&cluster, &namespace, names, *all, revision.as_deref()).await,
        What::List { all_namespaces } => {
            let scope = (!all_namespaces).then_some(namespace.as_str());
            show::list(&waypoints(&cluster, scope).await?, scope, format)
        }
        What::Status {
            name,
            all_namespaces,
            wait,
            waypoint_timeout,
        } => {
            let scope = (!all_namespaces).then_some(namespace.as_str());
            let mine = |g: &Value| name.as_deref().is_none_or(|n| g["metadata"]["name"] == n);
            if *wait {
                wait_programmed(&cluster, scope, &mine, *waypoint_timeout).await?;
            }
            let found = waypoints(&cluster, scope).await?;
            let found: Vec<Value> = found.into_iter().filter(|g| mine(g)).collect();
            show::status(&found, name.as_deref(), format)
        }
    }
}

/// The object. Pure.
fn gateway(shape: &Shape, namespace: Option<&str>) -> Value {
    let mut found = serde_json::Map::new();
    if let Some(serves) = &shape.serves {
        found.insert(labels::WAYPOINT_FOR.to_owned(), serves.as_str().into());
    }
    if let Some(revision) = &shape.revision {
        found.insert(REVISION.to_owned(), revision.as_str().into());
    }
    let mut metadata = json!({"name": shape.name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    if !found.is_empty() {
        metadata["labels"] = found.into();
    }
    json!({
        "apiVersion": API,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "gatewayClassName": CLASS,
            "listeners": [
                {"name": "mesh", "port": ambit_api::ports::HBONE, "protocol": "HBONE"},
            ],
        },
    })
}

async fn waypoints(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Value>> {
    let mut found = cluster.list(API, KIND, namespace, "").await?;
    found.retain(is_waypoint);
    Ok(found)
}

fn is_waypoint(gateway: &Value) -> bool {
    CLASSES.contains(
        &gateway["spec"]["gatewayClassName"]
            .as_str()
            .unwrap_or_default(),
    )
}

fn namespace_object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

async fn check_enrolment(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    overwrite: bool,
) -> Result<()> {
    let live = cluster.live(&namespace_object(namespace)).await?;
    let live = live.with_context(|| format!("there is no namespace {namespace}"))?;
    let label = |key: &str| live["metadata"]["labels"][key].as_str();
    let current = label(labels::USE_WAYPOINT);
    if let Some(current) = current.filter(|c| *c != name && !overwrite) {
        bail!("namespace {namespace} uses waypoint {current}; change it with --overwrite");
    }
    if label(labels::DATAPLANE_MODE) != Some("ambient") {
        output::note(format_args!(
            "namespace {namespace} is not in the mesh yet: kubectl label namespace {namespace} {}=ambient",
            labels::DATAPLANE_MODE
        ));
    }
    Ok(())
}

async fn enroll(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let patch = json!({"metadata": {"labels": {labels::USE_WAYPOINT: name}}});
    cluster
        .api("v1", "Namespace", None)
        .patch(
            namespace,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await
        .with_context(|| format!("label namespace {namespace}"))?;
    Ok(())
}

/// Waits until every waypoint that `mine` takes is programmed; there must be one.
async fn wait_programmed(
    cluster: &Cluster,
    namespace: Option<&str>,
    mine: &dyn Fn(&Value) -> bool,
    patience: Duration,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let found = waypoints(cluster, namespace).await?;
        let found: Vec<&Value> = found.iter().filter(|g| mine(g)).collect();
        let waiting = found.iter().find(|g| !programmed(g).0);
        if waiting.is_none() && !found.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= patience {
            let why = waiting.map_or_else(|| "there is none".to_owned(), |g| programmed(g).1);
            bail!("no waypoint ready after {} s: {why}", patience.as_secs());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn delete(
    cluster: &Cluster,
    namespace: &str,
    names: &[String],
    all: bool,
    revision: Option<&str>,
) -> Result<Verdict> {
    ensure!(
        !names.is_empty() || all || revision.is_some(),
        "name the waypoints to delete, or say --all"
    );
    ensure!(names.is_empty() || !all, "either names or --all");
    for name in names {
        let key = json!({
            "apiVersion": API, "kind": KIND,
            "metadata": {"namespace": namespace, "name": name},
        });
        let live = cluster.live(&key).await?;
        let live = live.with_context(|| format!("there is no waypoint {namespace}/{name}"))?;
        ensure!(
            is_waypoint(&live),
            "Gateway {namespace}/{name} is no waypoint"
        );
        cluster.delete(&key).await?;
        output::line(format_args!("waypoint {namespace}/{name} deleted"));
    }
    if names.is_empty() {
        let found = waypoints(cluster, Some(namespace)).await?;
        let of = |g: &&Value| revision.is_none_or(|r| g["metadata"]["labels"][REVISION] == r);
        for gateway in found.iter().filter(of) {
            cluster.delete(gateway).await?;
            let name = gateway["metadata"]["name"].as_str().unwrap_or_default();
            output::line(format_args!("waypoint {namespace}/{name} deleted"));
        }
    }
    Ok(Verdict::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waypoint_is_what_istioctl_would_make() {
        let shape = Shape {
            name: "w".into(),
            serves: Some("all".into()),
            revision: None,
        };
        let made = gateway(&shape, Some("a"));
        assert_eq!(
            made,
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "w", "namespace": "a", "labels": {"istio.io/waypoint-for": "all"}},
                "spec": {
                    "gatewayClassName": "istio-waypoint",
                    "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
                },
            })
        );
        assert!(is_waypoint(&made));
        assert!(!is_waypoint(
            &json!({"spec": {"gatewayClassName": "istio"}})
        ));
    }
}
