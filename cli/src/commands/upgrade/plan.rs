//! What an upgrade would change, in words.

use anyhow::Result;
use serde_json::Value;

use crate::choice::Chosen;
use crate::cluster::{Cluster, name_of};
use crate::install::{AMBIT, Difference, PART_OF, differences};
use crate::output;
use crate::rollout::Surplus;

/// Fields of one object that are told one by one; more are counted.
const TOLD: usize = 8;
/// Fields that follow from the version alone.
const LABELS: [&str; 2] = ["app.kubernetes.io/version", "app.kubernetes.io/managed-by"];

/// One object that would be another.
struct Step {
    object: String,
    /// `None`: it is new
    changed: Option<Vec<Difference>>,
}

/// Everything that would be.
pub(super) struct Plan {
    steps: Vec<Step>,
    kinds: usize,
    deleted: Vec<String>,
    /// Workloads whose pods would be replaced
    replaced: Vec<String>,
}

/// Compares the cluster with what was chosen.
///
/// # Errors
/// If the server does not answer.
pub(super) async fn plan(cluster: &Cluster, chosen: &Chosen, surplus: &Surplus) -> Result<Plan> {
    let classes = cluster.has_gateway_classes().await?;
    let mut plan = Plan {
        steps: Vec::new(),
        kinds: 0,
        deleted: surplus.names().collect(),
        replaced: Vec::new(),
    };
    for definition in &chosen.definitions {
        let live = cluster.live(definition).await?;
        let same = live.is_some_and(|live| {
            let foreign = live["metadata"]["labels"][PART_OF] != AMBIT;
            foreign || differences(definition, &live).is_empty()
        });
        plan.kinds += usize::from(!same);
    }
    for object in chosen.objects() {
        if object["kind"] == "GatewayClass" && !classes {
            continue;
        }
        let Some(live) = cluster.live(object).await? else {
            plan.steps.push(Step {
                object: name_of(object),
                changed: None,
            });
            continue;
        };
        let foreign = object["kind"] == "GatewayClass"
            && live["spec"]["controllerName"] != object["spec"]["controllerName"];
        let changed = differences(object, &live);
        if changed.is_empty() || foreign {
            continue;
        }
        // An earlier run may have left the new template on the first node alone.
        let begun = live["spec"]["updateStrategy"]["type"] == "OnDelete";
        if begun || changed.iter().any(|d| d.path.starts_with("spec.template.")) {
            plan.replaced.push(name(object));
        }
        plan.steps.push(Step {
            object: name_of(object),
            changed: Some(changed),
        });
    }
    Ok(plan)
}

fn name(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

impl Plan {
    /// Whether the cluster is as it should be.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.kinds == 0 && self.deleted.is_empty()
    }

    /// Whether the pods of a workload would be replaced.
    pub(super) fn replaces(&self, workload: &str) -> bool {
        self.replaced.iter().any(|name| name == workload)
    }

    /// Prints it.
    pub(super) fn print(&self) {
        for line in self.lines() {
            output::line(line);
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.kinds > 0 {
            lines.push(format!("kinds: {} definitions change", self.kinds));
        }
        for step in &self.steps {
            let Some(changed) = &step.changed else {
                lines.push(format!("{} is new", step.object));
                continue;
            };
            let told: Vec<&Difference> = changed
                .iter()
                .filter(|d| !LABELS.iter().any(|label| d.path.ends_with(label)))
                .collect();
            if told.is_empty() {
                lines.push(format!("{} changes its labels", step.object));
                continue;
            }
            lines.push(format!("{} changes", step.object));
            for difference in told.iter().take(TOLD) {
                let is = difference.is.as_deref().unwrap_or("not set");
                lines.push(format!(
                    "    {}: {is} -> {}",
                    difference.path, difference.wanted
                ));
            }
            if told.len() > TOLD {
                lines.push(format!("    and {} more fields", told.len() - TOLD));
            }
        }
        for name in &self.deleted {
            lines.push(format!("{name} is deleted"));
        }
        for name in &self.replaced {
            lines.push(format!("the pods of {name} are replaced"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_told_in_words() {
        let wanted = json!({"metadata": {"labels": {"app.kubernetes.io/version": "0.2.0"}}, "spec": {"image": "a:2"}});
        let live = json!({"metadata": {"labels": {"app.kubernetes.io/version": "0.1.0"}}, "spec": {"image": "a:1"}});
        let only_label = json!({"metadata": {"labels": {"app.kubernetes.io/version": "0.1.0"}}, "spec": {"image": "a:2"}});
        let step = |live: &Value| Step {
            object: "DaemonSet istio-system/ztunnel".into(),
            changed: Some(differences(&wanted, live)),
        };
        let plan = Plan {
            steps: vec![
                step(&live),
                step(&only_label),
                Step {
                    object: "Role istio-system/new".into(),
                    changed: None,
                },
            ],
            kinds: 1,
            deleted: vec!["ConfigMap istio-system/old".into()],
            replaced: vec!["ztunnel".into()],
        };
        assert_eq!(
            plan.lines(),
            [
                "kinds: 1 definitions change",
                "DaemonSet istio-system/ztunnel changes",
                "    spec.image: a:1 -> a:2",
                "DaemonSet istio-system/ztunnel changes its labels",
                "Role istio-system/new is new",
                "ConfigMap istio-system/old is deleted",
                "the pods of ztunnel are replaced",
            ]
        );
        assert!(!plan.is_empty());
        assert!(plan.replaces("ztunnel") && !plan.replaces("ambit-cni-node"));
    }
}
