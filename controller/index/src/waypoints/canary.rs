//! A second waypoint that takes a part of a service's connections.
//! In: the labels and annotations that named the first. Out: how the two share, or why the second gets nothing:
//! then all goes to the first, whose policies are the same.
//! Source: Istio labels `istio.io/use-waypoint-canary*`, annotation `istio.io/use-waypoint-canary-weight` (0–100).

use super::Waypoints;
use crate::selector::{Labels, label};
use crate::world::World;
use ambit_api::{labels, workload as pb};

/// How the connections of a service are shared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Share {
    /// There is one waypoint.
    Whole,
    /// So many of a hundred go to the second.
    Split {
        /// Gateway, `<namespace>/<name>`.
        canary: String,
        address: pb::GatewayAddress,
        percent: u32,
    },
    /// The second cannot be used.
    Refused {
        /// Of the condition `istio.io/WaypointBound`.
        reason: &'static str,
        why: String,
    },
}

/// What named the first waypoint: labels and annotations of the object or of its namespace.
pub(super) struct Names<'a> {
    pub(super) labels: Labels<'a>,
    pub(super) annotations: Labels<'a>,
}

impl Share {
    /// How the service of `namespace` shares what goes to the waypoint `first`.
    pub(super) fn of(
        waypoints: &Waypoints<'_>,
        (world, namespace): (&World<'_>, &str),
        names: &Names<'_>,
        first: &str,
    ) -> Self {
        let Some(name) = label(names.labels, labels::USE_WAYPOINT_CANARY) else {
            return Self::Whole;
        };
        let place = label(names.labels, labels::USE_WAYPOINT_CANARY_NAMESPACE);
        let place = place.unwrap_or(namespace);
        let canary = format!("{place}/{name}");
        if canary == first {
            let why = "the canary is the waypoint itself".to_owned();
            return Self::refused("CanarySameAsPrimary", why);
        }
        let given = label(names.annotations, labels::CANARY_WEIGHT).unwrap_or_default();
        let Some(percent) = given.parse().ok().filter(|percent: &u32| *percent <= 100) else {
            let annotation = labels::CANARY_WEIGHT;
            let why = format!("annotation {annotation}: `{given}` is not a number from 0 to 100");
            return Self::refused("CanaryInvalidWeight", why);
        };
        let fact = waypoints.gateways.get(&(place, name));
        let fact = fact.filter(|fact| fact.serves.services);
        let admitted = fact.filter(|f| f.admits(namespace, world.namespace_labels(namespace)));
        match (fact, admitted.and_then(|f| f.address.clone())) {
            (_, Some(address)) => Self::Split {
                canary,
                address,
                percent,
            },
            (Some(_), None) if admitted.is_none() => {
                let why = format!("canary {canary} does not allow namespace {namespace}");
                Self::refused("WaypointAccepted", why)
            }
            _ => Self::refused("WaypointAccepted", format!("canary {canary} is not ready")),
        }
    }

    fn refused(reason: &'static str, why: String) -> Self {
        Self::Refused { reason, why }
    }

    /// The second waypoint.
    pub(crate) fn canary(&self) -> Option<&str> {
        match self {
            Self::Split { canary, .. } => Some(canary),
            Self::Whole | Self::Refused { .. } => None,
        }
    }

    /// The second waypoint, and how many of a hundred go there.
    pub(crate) fn second(&self) -> Option<(String, u32)> {
        match self {
            Self::Split {
                canary, percent, ..
            } => Some((canary.clone(), *percent)),
            Self::Whole | Self::Refused { .. } => None,
        }
    }

    /// What the Address resource says beside the first waypoint.
    pub(super) fn weighted(&self, first: &pb::GatewayAddress) -> Vec<pb::WeightedWaypoint> {
        let Self::Split {
            address, percent, ..
        } = self
        else {
            return Vec::new();
        };
        let part = |destination: &pb::GatewayAddress, weight| pb::WeightedWaypoint {
            destination: Some(destination.clone()),
            weight,
        };
        vec![part(first, 100 - percent), part(address, *percent)]
    }

    /// Reason of the condition, and what follows its message.
    pub(super) fn said(&self) -> (&'static str, String) {
        match self {
            Self::Whole => ("WaypointAccepted", String::new()),
            Self::Split {
                canary, percent, ..
            } => (
                "WaypointAccepted",
                format!("; {percent} of 100 connections go to canary {canary}"),
            ),
            Self::Refused { reason, why } => {
                (reason, format!("; {why}: everything goes to the first"))
            }
        }
    }
}
