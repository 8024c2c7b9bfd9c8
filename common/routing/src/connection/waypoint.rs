//! Which waypoint stands in front of a target, and which instance of it is dialled.
//! In: the `GatewayAddress` the target names. Out: the waypoint's workload, address and identities.
//! Fails closed: a waypoint that is named and cannot be found refuses the connection.

use super::endpoint::{self, Client, NoChoice, Purpose};
use super::outbound::Denial;
use super::trace::{Fact, Trace};
use ambit_model::address::NetworkAddress;
use ambit_model::ids::SpiffeId;
use ambit_model::service::Service;
use ambit_model::snapshot::{Found, Snapshot};
use ambit_model::waypoint::{GatewayAddress, GatewayDestination};
use ambit_model::workload::Workload;
use rand::Rng;
use std::net::SocketAddr;
use std::sync::Arc;

/// The instance to dial.
pub(super) struct Instance {
    pub(super) workload: Arc<Workload>,
    pub(super) address: SocketAddr,
    pub(super) expected: Vec<SpiffeId>,
}

/// The waypoint a service names: one of several by weight, else the only one.
pub(super) fn of_service<'a>(
    service: &'a Service,
    rng: &mut impl Rng,
) -> Option<(&'a GatewayAddress, bool)> {
    let several = &service.weighted_waypoints;
    let total: u64 = several.iter().map(|w| u64::from(w.weight)).sum();
    if total == 0 {
        return service.waypoint.as_ref().map(|w| (w, false));
    }
    let mut left = rng.random_range(0..total);
    for one in several {
        if left < u64::from(one.weight) {
            return Some((&one.destination, true));
        }
        left -= u64::from(one.weight);
    }
    None
}

/// Whether this workload is an instance of the waypoint.
pub(super) fn contains(snapshot: &Snapshot, gateway: &GatewayAddress, workload: &Workload) -> bool {
    match &gateway.destination {
        GatewayDestination::Hostname(key) => workload.services.contains_key(key),
        GatewayDestination::Address(address) => {
            let own =
                workload.network == address.network && workload.addresses.contains(&address.ip);
            own || snapshot
                .service_at(address, &workload.namespace)
                .is_some_and(|s| workload.services.contains_key(&s.key))
        }
    }
}

/// The instance of `gateway` to dial.
pub(super) fn resolve(
    snapshot: &Snapshot,
    gateway: &GatewayAddress,
    client: &Client<'_>,
    (rng, trace): (&mut impl Rng, &mut Trace),
) -> Result<Instance, Denial> {
    let unknown = || Denial::UnknownWaypoint {
        waypoint: gateway.clone(),
    };
    let found = match &gateway.destination {
        GatewayDestination::Hostname(key) => {
            Found::Service(snapshot.service(key).cloned().ok_or_else(unknown)?)
        }
        GatewayDestination::Address(address) => holder(snapshot, address).ok_or_else(unknown)?,
    };
    let port = gateway.hbone_port;
    let (workload, ip, port, sans) = match found {
        Found::Workload(workload) => {
            let GatewayDestination::Address(address) = &gateway.destination else {
                return Err(unknown());
            };
            (workload, address.ip, port, Vec::new())
        }
        Found::Service(service) => {
            let wanted = (&*service, port, Purpose::Waypoint);
            let choice = endpoint::choose(snapshot, wanted, client, (rng, trace));
            let choice = choice.map_err(|e| match e {
                NoChoice::OtherNetwork(network) => Denial::NotSupported { network },
                NoChoice::Port | NoChoice::Endpoint => Denial::WaypointUnavailable {
                    waypoint: gateway.clone(),
                },
            })?;
            let ip = endpoint::address(&choice.workload, &service, client.dialled)
                .ok_or_else(unknown)?;
            let sans = service.subject_alt_names.clone();
            (choice.workload, ip, choice.target_port, sans)
        }
    };
    if &workload.network != client.network {
        return Err(Denial::NotSupported {
            network: workload.network.clone(),
        });
    }
    trace.push(Fact::WaypointIs(workload.uid.clone()));
    let expected = super::outbound::expected(sans, &workload);
    Ok(Instance {
        address: SocketAddr::new(ip, port),
        expected,
        workload,
    })
}

/// A waypoint is found by whoever needs it, so its service's visibility does not matter.
fn holder(snapshot: &Snapshot, address: &NetworkAddress) -> Option<Found> {
    if let Some(workload) = snapshot.workload_at(address) {
        return Some(Found::Workload(workload.clone()));
    }
    snapshot
        .service_at(address, "")
        .map(|s| Found::Service(s.clone()))
}
