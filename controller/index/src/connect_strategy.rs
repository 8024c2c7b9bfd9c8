//! How a waypoint connects to addresses of a name.
//! Source: Istio's annotation `istio.io/connect-strategy`.

use crate::selector::label;
use ambit_crds::Resource;
use ambit_crds::istio::ServiceEntrySpec;

/// Annotation of a ServiceEntry, and its only value.
const CONNECT_STRATEGY: &str = "istio.io/connect-strategy";
const RACE: &str = "RACE_FIRST_TCP_CONNECT";

/// Whether an entry asks for the addresses of its endpoints' names to be raced.
pub(crate) fn races(object: &Resource<ServiceEntrySpec>) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    let strategy = label(annotations, CONNECT_STRATEGY).unwrap_or_default();
    object.spec.resolution.by_name() && strategy.eq_ignore_ascii_case(RACE)
}
