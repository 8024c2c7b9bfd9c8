//! PeerAuthentication → DENY policies for peers without an identity.
//! In: every PeerAuthentication. Out: the policies, and which workloads name them.
//! The mode of a workload: its own selector policy, else its namespace's, else the mesh's; the
//! oldest object of a scope wins. DISABLE counts as PERMISSIVE.
//! Source: istio/api security/v1 PeerAuthentication; Istio's ambient conversion.

use crate::encode::{self, put};
use crate::out::Out;
use crate::selector::{self, Labels};
use crate::statuses::Condition;
use crate::world::{World, name_of};
use ambit_api::security as pb;
use ambit_crds::istio::{MutualTls, MutualTlsMode, PeerAuthenticationSpec};
use ambit_crds::{DISABLED, Kind, ObjectKey, Resource};
use std::collections::BTreeMap;

/// Denies every peer without an identity. A name no object can have.
const STRICT: &str = "istio_converted_static_strict";
/// Starts the name of a policy made from one object.
const CONVERTED: &str = "converted_peer_authentication_";

/// Effective modes.
#[derive(Debug, Default)]
pub(crate) struct PeerModes<'a> {
    root: &'a str,
    mesh_strict: bool,
    /// Namespaces with a policy of their own; `None` inherits.
    namespaces: BTreeMap<&'a str, Option<bool>>,
    /// By namespace, oldest first.
    selected: BTreeMap<&'a str, Vec<Selected<'a>>>,
}

#[derive(Debug)]
struct Selected<'a> {
    labels: &'a BTreeMap<String, String>,
    outcome: Outcome,
}

/// What a workload under a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Permissive,
    Strict,
    Converted(String),
}

impl PeerModes<'_> {
    /// The policy a workload names, if any.
    pub(crate) fn of(&self, namespace: &str, labels: Labels<'_>) -> Option<String> {
        let own = self.selected.get(namespace).and_then(|all| {
            all.iter()
                .find(|one| selector::matches(one.labels, labels))
                .map(|one| one.outcome.clone())
        });
        match own.unwrap_or_else(|| self.inherited(namespace)) {
            Outcome::Permissive => None,
            Outcome::Strict => Some(format!("{}/{STRICT}", self.root)),
            Outcome::Converted(name) => Some(format!("{namespace}/{name}")),
        }
    }

    fn inherited(&self, namespace: &str) -> Outcome {
        let own = self.namespaces.get(namespace).copied().flatten();
        match own.unwrap_or(self.mesh_strict) {
            true => Outcome::Strict,
            false => Outcome::Permissive,
        }
    }
}

/// Derives every policy and the modes.
pub(crate) fn derive<'a>(world: &World<'a>, out: &mut Out) -> PeerModes<'a> {
    let root = world.config.root_namespace.as_str();
    let mut modes = PeerModes {
        root,
        ..PeerModes::default()
    };
    let (selecting, scoped): (Vec<_>, Vec<_>) =
        world.peer_authentications.iter().copied().partition(|pa| {
            pa.spec
                .selector
                .as_ref()
                .is_some_and(|s| !s.match_labels.is_empty())
        });
    let mut mesh = None;
    for pa in scoped {
        let pa: &'a Resource<PeerAuthenticationSpec> = pa;
        let (namespace, _) = name_of(&pa.metadata);
        let mode = strict(pa.spec.mtls);
        let first = if namespace == root {
            let first = mesh.is_none();
            mesh = mesh.or(Some(mode));
            first
        } else {
            let first = !modes.namespaces.contains_key(namespace);
            modes.namespaces.entry(namespace).or_insert(mode);
            first
        };
        report(out, pa, first);
    }
    modes.mesh_strict = mesh.flatten().unwrap_or(false);
    for pa in selecting {
        select(&mut modes, pa, out);
    }
    if !world.peer_authentications.is_empty() {
        let deny = |name: &str, rules| policy(root, name, rules);
        put(out, deny(STRICT, vec![rule(vec![no_identity()])]));
    }
    modes
}

fn select<'a>(modes: &mut PeerModes<'a>, pa: &'a Resource<PeerAuthenticationSpec>, out: &mut Out) {
    let (namespace, name) = name_of(&pa.metadata);
    let Some(selector) = &pa.spec.selector else {
        return;
    };
    if namespace == modes.root {
        let message = "spec.selector: has no effect in the root namespace";
        let condition = Condition::rejected("Ineffective", message);
        let key = ObjectKey::new(Kind::PeerAuthentication, namespace, name);
        out.statuses.condition(key, condition);
        return;
    }
    let inherited = modes.inherited(namespace) == Outcome::Strict;
    let parent = strict(pa.spec.mtls).unwrap_or(inherited);
    let rules = exceptions(parent, &pa.spec.port_level_mtls);
    let outcome = match (parent, rules.is_empty()) {
        (_, false) => {
            let converted = format!("{CONVERTED}{name}");
            put(out, policy(namespace, &converted, rules));
            Outcome::Converted(converted)
        }
        (true, true) => Outcome::Strict,
        (false, true) => Outcome::Permissive,
    };
    modes.selected.entry(namespace).or_default().push(Selected {
        labels: &selector.match_labels,
        outcome,
    });
    report(out, pa, true);
}

fn report(out: &mut Out, pa: &Resource<PeerAuthenticationSpec>, in_use: bool) {
    let (namespace, name) = name_of(&pa.metadata);
    let key = ObjectKey::new(Kind::PeerAuthentication, namespace, name);
    let condition = if in_use {
        let message = match disables(&pa.spec) {
            true => format!("in use; {DISABLED}"),
            false => "in use".to_owned(),
        };
        Condition::new(crate::statuses::ACCEPTED, true, "Accepted", message)
    } else {
        let message = "an older PeerAuthentication of the same scope is in use";
        Condition::rejected("Conflicted", message)
    };
    out.statuses.condition(key, condition);
}

fn disables(spec: &PeerAuthenticationSpec) -> bool {
    let mut modes = spec.mtls.iter().chain(spec.port_level_mtls.values());
    modes.any(|mtls| mtls.mode == MutualTlsMode::Disable)
}

/// `None` inherits.
fn strict(mtls: Option<MutualTls>) -> Option<bool> {
    match mtls.unwrap_or_default().mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Strict => Some(true),
        MutualTlsMode::Permissive | MutualTlsMode::Disable => Some(false),
    }
}

/// Rules for the ports that differ from the rest; none when no port does.
fn exceptions(parent: bool, ports: &BTreeMap<String, MutualTls>) -> Vec<pb::Rule> {
    let mut differing: Vec<u32> = ports
        .iter()
        .filter(|(_, mtls)| strict(Some(**mtls)).is_some_and(|mode| mode != parent))
        .filter_map(|(port, _)| port.parse().ok())
        .collect();
    differing.sort_unstable();
    if differing.is_empty() {
        return Vec::new();
    }
    if parent {
        // One rule: no identity, and none of the open ports.
        let open = |port| pb::Match {
            not_destination_ports: vec![port],
            ..Default::default()
        };
        let mut matches = vec![no_identity()];
        matches.extend(differing.into_iter().map(open));
        return vec![rule(matches)];
    }
    let closed = |port| pb::Match {
        destination_ports: vec![port],
        ..no_identity()
    };
    differing
        .into_iter()
        .map(|port| rule(vec![closed(port)]))
        .collect()
}

fn no_identity() -> pb::Match {
    pb::Match {
        not_principals: vec![encode::string("*")],
        ..Default::default()
    }
}

/// A rule of clauses with one match each.
fn rule(matches: Vec<pb::Match>) -> pb::Rule {
    let clause = |m| pb::Clause { matches: vec![m] };
    pb::Rule {
        clauses: matches.into_iter().map(clause).collect(),
    }
}

fn policy(namespace: &str, name: &str, rules: Vec<pb::Rule>) -> pb::Authorization {
    pb::Authorization {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        scope: pb::Scope::WorkloadSelector.into(),
        action: pb::Action::Deny.into(),
        rules,
        ..Default::default()
    }
}
