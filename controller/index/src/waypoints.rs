//! Which waypoint a service or a workload goes through.
//! In: the labels of the object and of its namespace, the gateways. Out: a binding, or why there is
//! none. A waypoint that was ready once and is gone is still bound, to an address that leads
//! nowhere: traffic is refused rather than sent around its policies.
//! Source: Istio labels `istio.io/use-waypoint*`; condition `istio.io/WaypointBound`.

mod canary;

use crate::gateways::{self, GatewayFact};
use crate::selector::{Labels, label};
use crate::statuses::Condition;
use crate::world::{Name, World};
use ambit_api::{labels, workload as pb};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Condition of an object that names a waypoint.
const BOUND: &str = "istio.io/WaypointBound";
/// Reason when the waypoint was ready once and is gone.
const GONE: &str = "WaypointIsGone";
/// Namespace label `true`: traffic waits for the waypoint rather than bypass one that is not ready.
const REQUIRED: &str = "ambit.io/require-waypoint";

pub(crate) use canary::Share;

/// Kind of destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Service,
    Workload,
}

/// A waypoint in front of something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    /// Gateway, `<namespace>/<name>`.
    pub(crate) gateway: String,
    pub(crate) address: pb::GatewayAddress,
    /// Of a service's connections.
    pub(crate) share: Share,
}

/// Outcome of looking for a waypoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolution {
    /// None is named.
    None,
    /// It is in place.
    Bound(Bound),
    /// It is named but cannot be used.
    Unusable {
        reason: &'static str,
        message: String,
        /// Where traffic goes all the same, to be refused there.
        refuse: Option<Bound>,
    },
}

impl Resolution {
    /// What the Address resource says.
    pub(crate) fn bound(&self) -> Option<Bound> {
        match self {
            Self::None => None,
            Self::Bound(bound) => Some(bound.clone()),
            Self::Unusable { refuse, .. } => refuse.clone(),
        }
    }

    /// Its waypoint and a second one with their parts; empty if there is no second.
    pub(crate) fn weighted(&self) -> Vec<pb::WeightedWaypoint> {
        match self {
            Self::Bound(bound) => bound.share.weighted(&bound.address),
            Self::None | Self::Unusable { .. } => Vec::new(),
        }
    }

    /// Gateway `<namespace>/<name>` of the second one, and how many of a hundred go there.
    pub(crate) fn canary(&self) -> Option<(String, u32)> {
        match self {
            Self::Bound(bound) => bound.share.second(),
            Self::None | Self::Unusable { .. } => None,
        }
    }

    /// What the status says.
    pub(crate) fn condition(&self) -> Option<Condition> {
        match self {
            Self::None => None,
            Self::Bound(bound) => {
                let (reason, more) = bound.share.said();
                let message = format!("Successfully attached to waypoint {}{more}", bound.gateway);
                Some(Condition::new(BOUND, true, reason, message))
            }
            Self::Unusable {
                reason, message, ..
            } => Some(Condition::new(BOUND, false, reason, message.as_str())),
        }
    }
}

/// Whether traffic to a namespace waits for its waypoint.
pub(crate) fn is_required(world: &World<'_>, namespace: &str) -> bool {
    label(world.namespace_labels(namespace), REQUIRED) == Some("true")
}

/// The gateways, for resolving.
pub(crate) struct Waypoints<'a> {
    gateways: &'a BTreeMap<Name<'a>, GatewayFact<'a>>,
    seen: &'a BTreeSet<String>,
}

impl<'g> Waypoints<'g> {
    pub(crate) fn new(
        gateways: &'g BTreeMap<Name<'g>, GatewayFact<'g>>,
        seen: &'g BTreeSet<String>,
    ) -> Self {
        Self { gateways, seen }
    }

    /// Whether a gateway of ours has that name.
    pub(crate) fn is_waypoint(&self, namespace: &str, name: &str) -> bool {
        self.gateways
            .get(&(namespace, name))
            .is_some_and(GatewayFact::is_waypoint)
    }

    /// How node proxies hand connections to the pods of a gateway.
    pub(crate) fn application_tunnel(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<pb::ApplicationTunnel> {
        self.gateways.get(&(namespace, name))?.application_tunnel()
    }

    /// The waypoint of a service, and perhaps a second one beside it. The rest is as with [`Self::resolve`].
    pub(crate) fn of_service(
        &self,
        world: &World<'_>,
        (namespace, own): (&str, &ObjectMeta),
        before: impl FnOnce() -> Option<String>,
    ) -> Resolution {
        let labels = own.labels.as_ref();
        let found = self.resolve(world, (namespace, labels), Traffic::Service, before);
        let Resolution::Bound(mut bound) = found else {
            return found;
        };
        let names = match label(labels, labels::USE_WAYPOINT) {
            Some(_) => canary::Names {
                labels,
                annotations: own.annotations.as_ref(),
            },
            None => canary::Names {
                labels: world.namespace_labels(namespace),
                annotations: world.namespace_annotations(namespace),
            },
        };
        bound.share = Share::of(self, (world, namespace), &names, &bound.gateway);
        Resolution::Bound(bound)
    }

    /// The waypoint of an object. `before` gives the gateway that the status of the object says it
    /// was bound to, for a controller that was restarted.
    pub(crate) fn resolve(
        &self,
        world: &World<'_>,
        (namespace, own): (&str, Labels<'_>),
        traffic: Traffic,
        before: impl FnOnce() -> Option<String>,
    ) -> Resolution {
        let of_namespace = world.namespace_labels(namespace);
        // A label of the object hides that of the namespace, even when it leads nowhere.
        let labels = match label(own, labels::USE_WAYPOINT) {
            Some(_) => own,
            None => of_namespace,
        };
        let Some(name) = label(labels, labels::USE_WAYPOINT).filter(|n| *n != "none") else {
            return Resolution::None;
        };
        let gateway_namespace = label(labels, labels::USE_WAYPOINT_NAMESPACE).unwrap_or(namespace);
        let gateway = (gateway_namespace, name);
        let key = format!("{gateway_namespace}/{name}");
        let refuse = || {
            Some(Bound {
                gateway: key.clone(),
                address: gateways::named_address(world, gateway),
                share: Share::Whole,
            })
        };
        let required = is_required(world, namespace);
        let unusable = |reason, message: String| Resolution::Unusable {
            reason,
            message,
            refuse: required.then(refuse).flatten(),
        };
        let once_bound = || self.seen.contains(&key) || before().as_deref() == Some(&key);
        let lost = |how: &str| Resolution::Unusable {
            reason: GONE,
            message: format!("waypoint {key} {how}; traffic is refused"),
            refuse: refuse(),
        };
        let Some(fact) = self.gateways.get(&gateway) else {
            if once_bound() {
                return lost("is gone");
            }
            return unusable(
                "WaypointIsNotReady",
                format!("waypoint {key} does not exist"),
            );
        };
        if !fact.admits(namespace, of_namespace) {
            let message =
                format!("waypoint {key} does not allow namespace {namespace} (allowedRoutes)");
            return unusable("AttachmentDenied", message);
        }
        let (serves, what) = match traffic {
            Traffic::Service => (fact.serves.services, "services"),
            Traffic::Workload => (fact.serves.workloads, "workloads"),
        };
        if !serves {
            // A namespace names one waypoint for both kinds; that it is for one only is no mistake.
            if traffic == Traffic::Workload {
                return Resolution::None;
            }
            return unusable(
                "UnsupportedTrafficType",
                format!(
                    "waypoint {key} does not serve {what} ({})",
                    labels::WAYPOINT_FOR
                ),
            );
        }
        match &fact.address {
            Some(address) => Resolution::Bound(Bound {
                gateway: key,
                address: address.clone(),
                share: Share::Whole,
            }),
            // Deleted and made again: until the new one is ready it is as gone as before.
            None if once_bound() => lost("was in place and is not ready again"),
            None => unusable("WaypointIsNotReady", format!("waypoint {key} is not ready")),
        }
    }
}

/// The gateway a service's status says it was bound to.
pub(crate) fn bound_before(service: &Service) -> Option<String> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == BOUND)?;
    bound_by(&condition.status, &condition.reason, &condition.message)
}

/// The same by a list of conditions as JSON.
pub(crate) fn bound_in(conditions: &Value) -> Option<String> {
    let mut all = conditions.as_array()?.iter();
    let condition = all.find(|c| c.get("type").and_then(Value::as_str) == Some(BOUND))?;
    let field = |name: &str| condition.get(name)?.as_str();
    bound_by(field("status")?, field("reason")?, field("message")?)
}

fn bound_by(status: &str, reason: &str, message: &str) -> Option<String> {
    if status != "True" && reason != GONE {
        return None;
    }
    let words = message.split([' ', ';']);
    words
        .filter(|word| word.contains('/'))
        .map(str::to_owned)
        .next()
}
