//! AuthorizationPolicy → `istio.security.Authorization`, as node proxies enforce it; those with
//! `targetRefs` → `ambit.route.v1.AccessPolicy`, as waypoints do (`attached`).
//! In: every policy. Out: one resource per policy that has an L4 meaning, and the names that
//! workloads carry. What L4 cannot enforce is said in the status, never dropped in silence:
//! an ALLOW rule with an L7 attribute is left out (stricter), a DENY rule loses the attribute.
//! Source: istio/api security/v1 AuthorizationPolicy; Istio's ambient conversion.

mod attached;
mod requests;
mod rules;

pub(crate) use attached::{Attached, derive as attach};

use crate::out::Out;
use crate::peer_authentication::PeerModes;
use crate::selector::{self, Labels};
use crate::statuses::Condition;
use crate::world::{World, name_of};
use ambit_api::security as pb;
use ambit_crds::istio::{Action, AuthorizationPolicySpec};
use ambit_crds::{Kind, ObjectKey, Resource};
use std::collections::BTreeMap;

/// Condition for what node proxies enforce.
const ZTUNNEL: &str = "ZtunnelAccepted";
/// Condition for what waypoints enforce.
const WAYPOINT: &str = "WaypointAccepted";
/// Policies with this annotation are only logged, by waypoints.
const DRY_RUN: &str = "istio.io/dry-run";

/// A policy that some workloads name.
pub(crate) struct Selecting<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    /// `<namespace>/<name>`.
    key: String,
}

/// Which policies a workload names.
pub(crate) struct Attachments<'a> {
    root: &'a str,
    selecting: BTreeMap<&'a str, Vec<Selecting<'a>>>,
    peers: PeerModes<'a>,
}

impl<'a> Attachments<'a> {
    pub(crate) fn new((root, all): (&'a str, Vec<Selecting<'a>>), peers: PeerModes<'a>) -> Self {
        let mut selecting: BTreeMap<&str, Vec<Selecting<'a>>> = BTreeMap::new();
        for one in all {
            selecting.entry(one.namespace).or_default().push(one);
        }
        Self {
            root,
            selecting,
            peers,
        }
    }

    /// Names for one workload, sorted.
    pub(crate) fn of(&self, namespace: &str, labels: Labels<'_>) -> Vec<String> {
        let root = Some(self.root).filter(|root| *root != namespace);
        let mut names: Vec<String> = [Some(namespace), root]
            .into_iter()
            .flatten()
            .filter_map(|ns| self.selecting.get(ns))
            .flatten()
            .filter(|one| selector::matches(one.labels, labels))
            .map(|one| one.key.clone())
            .chain(self.peers.of(namespace, labels))
            .collect();
        names.sort();
        names
    }
}

/// Derives every policy.
pub(crate) fn derive<'a>(world: &World<'a>, out: &mut Out) -> (&'a str, Vec<Selecting<'a>>) {
    let root = world.config.root_namespace.as_str();
    let selecting = world
        .authorization_policies
        .iter()
        .filter(|policy| !attached::has_targets(&policy.spec))
        .filter_map(|policy| one(root, policy, out))
        .collect();
    (root, selecting)
}

fn one<'a>(
    root: &str,
    policy: &'a Resource<AuthorizationPolicySpec>,
    out: &mut Out,
) -> Option<Selecting<'a>> {
    let (namespace, name) = name_of(&policy.metadata);
    let key = ObjectKey::new(Kind::AuthorizationPolicy, namespace, name);
    let spec = &policy.spec;
    let mut say = |kind, met, reason, message: String| {
        let condition = Condition::new(kind, met, reason, message);
        out.statuses.condition(key.clone(), condition);
    };
    let action = match spec.action {
        Action::Allow => pb::Action::Allow,
        Action::Deny => pb::Action::Deny,
        other => {
            let message = format!("spec.action: {other:?} is not enforced by node proxies");
            say(ZTUNNEL, false, "UnsupportedValue", message);
            return None;
        }
    };
    let annotations = policy.metadata.annotations.as_ref();
    if selector::label(annotations, DRY_RUN) == Some("true") {
        let message = format!("metadata.annotations[{DRY_RUN}]: the policy is not enforced");
        say(ZTUNNEL, false, "UnsupportedValue", message);
        return None;
    }
    let labels = spec
        .selector
        .as_ref()
        .map(|s| &s.match_labels)
        .filter(|labels| !labels.is_empty());
    let scope = match labels {
        Some(_) => pb::Scope::WorkloadSelector,
        None if namespace == root => pb::Scope::Global,
        None => pb::Scope::Namespace,
    };
    let converted = rules::convert(spec, namespace);
    if converted.remarks.is_empty() {
        say(ZTUNNEL, true, "Accepted", "attached to ztunnel".to_owned());
    } else {
        let message = converted.remarks.join("; ");
        tracing::warn!(policy = %key, remarks = %message, "policy is not enforced as written");
        say(ZTUNNEL, false, "UnsupportedValue", message);
    }
    let message = pb::Authorization {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        scope: scope.into(),
        action: action.into(),
        rules: converted.rules,
        ..Default::default()
    };
    crate::encode::put(out, message);
    labels.map(|labels| Selecting {
        namespace,
        labels,
        key: format!("{namespace}/{name}"),
    })
}
