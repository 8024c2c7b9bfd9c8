//! `ambit precheck`: whether a cluster can take the mesh, before anything is changed.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Chosen as ChosenCluster, Cluster, established};
use crate::install::{AMBIT, Bundle, PART_OF};
use crate::output::{self, Format, Verdict};

/// Oldest Kubernetes, as minor version of 1.
const OLDEST_KUBERNETES: u64 = 30;
/// Oldest kernel.
const OLDEST_KERNEL: (u64, u64) = (6, 1);

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    check: &'static str,
    message: String,
}

/// Checks. [`Verdict::Wrong`] if the mesh would not work there.
pub(crate) async fn run(place: &ChosenCluster, namespace: &str, format: Format) -> Result<Verdict> {
    let cluster = place.connect().await?;
    let mut findings = vec![version(&cluster).await?];
    findings.extend(nodes(&cluster).await?);
    findings.extend(permissions(&cluster, namespace).await?);
    findings.push(gateway_api(&cluster).await?);
    findings.extend(others(&cluster, namespace).await?);
    if format == Format::Table {
        for f in &findings {
            let word = match f.level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Error => "error  ",
            };
            output::line(format_args!("{word}  {}: {}", f.check, f.message));
        }
    } else {
        output::value(&findings, format)?;
    }
    let bad = findings.iter().any(|f| f.level == Level::Error);
    Ok(if bad { Verdict::Wrong } else { Verdict::Fine })
}

async fn version(cluster: &Cluster) -> Result<Finding> {
    let info = cluster
        .client
        .apiserver_version()
        .await
        .with_context(|| format!("the API server at {}", cluster.server))?;
    let minor: u64 = info.minor.trim_end_matches('+').parse().unwrap_or(0);
    let level = if minor >= OLDEST_KUBERNETES {
        Level::Ok
    } else {
        Level::Error
    };
    Ok(Finding {
        level,
        check: "kubernetes",
        message: format!(
            "{}, needed is 1.{OLDEST_KUBERNETES} or newer",
            info.git_version
        ),
    })
}

async fn nodes(cluster: &Cluster) -> Result<Vec<Finding>> {
    let nodes = cluster.list("v1", "Node", None, "").await?;
    let finding = |level, message| Finding {
        level,
        check: "nodes",
        message,
    };
    if nodes.is_empty() {
        return Ok(vec![finding(Level::Error, "there is none".to_owned())]);
    }
    let mut found = Vec::new();
    let mut good = 0;
    for node in &nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let fact = |key: &str| node["status"]["nodeInfo"][key].as_str().unwrap_or_default();
        let (system, kernel) = (fact("operatingSystem"), fact("kernelVersion"));
        if system != "linux" {
            found.push(finding(
                Level::Warning,
                format!("{name} runs {system}: its pods stay out"),
            ));
        } else if kernel_version(kernel).is_none_or(|v| v < OLDEST_KERNEL) {
            let (major, minor) = OLDEST_KERNEL;
            let message = format!("{name} has kernel {kernel}, needed is {major}.{minor} or newer");
            found.push(finding(Level::Error, message));
        } else {
            good += 1;
        }
    }
    found.push(finding(
        Level::Ok,
        format!("{good} of {} can run the mesh", nodes.len()),
    ));
    Ok(found)
}

fn kernel_version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn permissions(cluster: &Cluster, namespace: &str) -> Result<Vec<Finding>> {
    let bundle = Bundle::embedded();
    let mut missing = Vec::new();
    let mut asked = 0;
    for (group, resource, cluster_wide) in bundle.resources() {
        for verb in ["get", "create", "patch", "delete"] {
            asked += 1;
            let attributes = ResourceAttributes {
                group: Some(group.clone()),
                resource: Some(resource.clone()),
                verb: Some(verb.to_owned()),
                namespace: (!cluster_wide).then(|| namespace.to_owned()),
                ..ResourceAttributes::default()
            };
            if !allowed(cluster, attributes).await? {
                missing.push(format!("{verb} {resource}"));
            }
        }
    }
    Ok(vec![match missing.is_empty() {
        true => Finding {
            level: Level::Ok,
            check: "permissions",
            message: format!("all {asked} that an installation needs"),
        },
        false => Finding {
            level: Level::Error,
            check: "permissions",
            message: format!("you may not {}", missing.join(", ")),
        },
    }])
}

async fn allowed(cluster: &Cluster, attributes: ResourceAttributes) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .context("what you may do")?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

async fn gateway_api(cluster: &Cluster) -> Result<Finding> {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gateways.gateway.networking.k8s.io"},
    });
    let live = cluster.live(&definition).await?;
    let (level, message) = match &live {
        None => (
            Level::Warning,
            "not there: waypoints need it; everything else works without".to_owned(),
        ),
        Some(live) if !established(live) => (Level::Error, "its kinds are not served".to_owned()),
        Some(live) => {
            let version =
                &live["metadata"]["annotations"]["gateway.networking.k8s.io/bundle-version"];
            (
                Level::Ok,
                version
                    .as_str()
                    .unwrap_or("of an unknown version")
                    .to_owned(),
            )
        }
    };
    Ok(Finding {
        level,
        check: "gateway api",
        message,
    })
}

/// What is there that would stand in the way.
async fn others(cluster: &Cluster, namespace: &str) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let finding = |level, message| Finding {
        level,
        check: "other meshes",
        message,
    };
    for (api_version, kind, name) in [
        ("apps/v1", "Deployment", "istiod"),
        ("apps/v1", "DaemonSet", "istio-cni-node"),
        ("apps/v1", "DaemonSet", "ztunnel"),
    ] {
        let key = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"namespace": namespace, "name": name},
        });
        if let Some(live) = cluster.live(&key).await?
            && live["metadata"]["labels"][PART_OF] != AMBIT
        {
            found.push(finding(
                Level::Warning,
                format!("{kind} {namespace}/{name} is there; an installation would stand beside or replace it"),
            ));
        }
    }
    for namespace in cluster
        .list("v1", "Namespace", None, "istio-injection=enabled")
        .await?
    {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        found.push(finding(
            Level::Warning,
            format!("namespace {name} asks for sidecars (istio-injection=enabled), which Ambit does not inject"),
        ));
    }
    if found.is_empty() {
        found.push(finding(Level::Ok, "none".to_owned()));
    }
    Ok(found)
}

impl Bundle {
    /// Group, plural and whether it is of the whole cluster, of every kind in the bundle.
    fn resources(&self) -> Vec<(String, String, bool)> {
        let mut found = std::collections::BTreeSet::new();
        for object in self.all_objects() {
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let version = text("/apiVersion");
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let gvk = kube::api::GroupVersionKind::gvk(group, "", text("/kind"));
            let plural = kube::api::ApiResource::from_gvk(&gvk).plural;
            let cluster_wide = object.pointer("/metadata/namespace").is_none();
            found.insert((group.to_owned(), plural, cluster_wide));
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(kernel_version("6.18.5-cloud"), Some((6, 18)));
        assert!(kernel_version("5.15.0-1044-aws").unwrap() < OLDEST_KERNEL);
        assert!(kernel_version("6.10").unwrap() > OLDEST_KERNEL);
        assert_eq!(kernel_version("unknown"), None);
    }

    #[test]
    fn every_kind_of_the_bundle_is_asked_about() {
        let resources = Bundle::embedded().resources();
        let has = |group: &str, plural: &str, wide: bool| {
            resources.contains(&(group.to_owned(), plural.to_owned(), wide))
        };
        assert!(has("apps", "daemonsets", false));
        assert!(has("", "namespaces", true));
        assert!(has("gateway.networking.k8s.io", "gatewayclasses", true));
        assert!(has("policy", "poddisruptionbudgets", false));
    }
}
