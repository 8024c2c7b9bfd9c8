//! What a controller does only with an API server: its authority's Secret, the Lease, roots in every
//! namespace, the webhook's registration, GatewayClasses.
//! In: settings, the namespaces there are. Out: a signer, leadership, ConfigMaps, a webhook that is
//! called. Must not happen here: a write of more than one replica at a time; a read of any Secret but
//! our own.

pub(crate) mod authority;
pub(crate) mod classes;
pub(crate) mod leader;
pub(crate) mod registration;
pub(crate) mod roots;
pub(crate) mod trust_bundle;

/// Field manager of everything the controller writes.
pub(crate) const MANAGER: &str = "ambit-controller";
