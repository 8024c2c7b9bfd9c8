//! WorkloadEntries → `istio.workload.Workload`.
//! In: every WorkloadEntry, the Services and ServiceEntries of its namespace, policies, waypoints. Out: one
//! Address resource each, a [`Member`] for routes, and the condition of its waypoint.
//! Source: istio/api networking/v1 WorkloadEntry; Istio's ambient conversion.

use super::endpoints::{Description, put};
use crate::entry_ports as ports;
use crate::out::Out;
use crate::selector::{self, Labels, label};
use crate::services::{Origin, ServiceFact};
use crate::waypoints::{self, Traffic};
use crate::workloads::{Context, Member};
use crate::world::{Name, WorkloadEntry};
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use serde_json::Value;
use std::collections::BTreeMap;

/// Annotation of entries that machines made of themselves: what they are replicas of.
const GROUP: &str = "istio.io/autoRegistrationGroup";
/// Condition of entries whose machines are probed.
const HEALTHY: &str = "Healthy";

/// Derives every WorkloadEntry.
pub(super) fn derive<'w, 'a>(context: &'w Context<'w, 'a>, out: &mut Out) -> Vec<Member<'w>> {
    let entries = &context.world.workload_entries;
    if entries.is_empty() {
        return Vec::new();
    }
    let mut by_namespace: BTreeMap<&str, Vec<&ServiceFact<'a>>> = BTreeMap::new();
    for service in context.services {
        let services = by_namespace.entry(service.namespace).or_default();
        services.push(service);
    }
    entries
        .iter()
        .map(|(name, entry)| {
            let services = by_namespace.get(name.0).map_or(&[][..], Vec::as_slice);
            one(context, (*name, entry), services, out)
        })
        .collect()
}

fn one<'w>(
    context: &Context<'_, '_>,
    ((namespace, name), entry): (Name<'_>, &'w WorkloadEntry<'_>),
    services: &[&ServiceFact<'_>],
    out: &mut Out,
) -> Member<'w> {
    let object = entry.object;
    let labels = Some(&entry.labels);
    let before = || waypoints::bound_in(object.status.as_ref()?.get("conditions")?);
    let found = (namespace, labels);
    let waypoint = context
        .waypoints
        .resolve(context.world, found, Traffic::Workload, before);
    if let Some(condition) = waypoint.condition() {
        let key = ObjectKey::new(Kind::WorkloadEntry, namespace, name);
        out.statuses.condition(key, condition);
    }
    let annotations = object.metadata.annotations.as_ref();
    let cluster = &context.world.config.cluster_id;
    let given = label(labels, labels::WORKLOAD_NAME).or_else(|| label(annotations, GROUP));
    put(
        context,
        Description {
            uid: format!("{cluster}/networking.istio.io/WorkloadEntry/{namespace}/{name}"),
            namespace,
            name,
            workload_name: given.unwrap_or(name),
            spec: &object.spec,
            labels,
            subsets: labels,
            annotations,
            waypoint: waypoint.bound(),
            healthy: is_healthy(object.status.as_ref()),
            services: backed(services, labels, entry),
        },
        out,
    )
}

/// Services of its namespace that select it.
fn backed(
    services: &[&ServiceFact<'_>],
    labels: Labels<'_>,
    entry: &WorkloadEntry<'_>,
) -> BTreeMap<String, ports::Pairs> {
    let selects = |service: &&&ServiceFact<'_>| {
        let wanted = match service.origin {
            Origin::Service(object) => object.spec.as_ref().and_then(|s| s.selector.as_ref()),
            Origin::Entry(entry) => entry.spec.workload_selector.as_ref().map(|s| &s.labels),
        };
        wanted.is_some_and(|wanted| !wanted.is_empty() && selector::matches(wanted, labels))
    };
    let found = services.iter().filter(selects);
    found
        .map(|s| (s.key.clone(), ports::of_workload(s, &entry.object.spec)))
        .collect()
}

/// Only a probe that failed says otherwise.
fn is_healthy(status: Option<&Value>) -> bool {
    let conditions = status.and_then(|s| s.get("conditions")?.as_array());
    conditions.into_iter().flatten().all(|condition| {
        condition.get("type").and_then(Value::as_str) != Some(HEALTHY)
            || condition.get("status").and_then(Value::as_str) != Some("False")
    })
}
