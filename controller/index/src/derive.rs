//! One derivation: gateways first, then waypoints, policies, services, workloads, routes.
//! In: the world. Out: everything there should be; the index compares it with what there was.

use crate::out::Out;
use crate::policies::Attachments;
use crate::routes;
use crate::waypoints::Waypoints;
use crate::workloads::{self, Context, Remembered};
use crate::world::World;
use crate::{
    deployer, endpoint_slices, entries, gateways, peer_authentication, policies, services,
};
use std::collections::BTreeSet;

/// What outlives a derivation.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Gateways `<namespace>/<name>` that were ready once: traffic through one that is gone is
    /// refused, not sent around it.
    pub(crate) seen_waypoints: BTreeSet<String>,
    /// Addresses of ServiceEntries.
    pub(crate) allocated: entries::Allocated,
    /// What pods led to.
    pub(crate) pods: Remembered,
}

/// Derives everything.
pub(crate) fn derive(world: &World<'_>, memory: &mut Memory) -> Out {
    let mut out = Out::default();
    let gateways = gateways::derive(world);
    deployer::derive(world, &gateways, &mut out);
    memory.seen_waypoints.extend(
        gateways
            .values()
            .filter(|g| g.address.is_some() && !g.is_ingress())
            .map(|g| g.key.clone()),
    );
    gateways::classic::report(world, &gateways, &mut out);
    let waypoints = Waypoints::new(&gateways, &memory.seen_waypoints);
    let mut services = services::derive(world, &waypoints, &mut out);
    let known = (&services[..], &mut memory.allocated);
    services.extend(entries::derive(world, &waypoints, known, &mut out));
    let peers = peer_authentication::derive(world, &mut out);
    let policies = Attachments::new(policies::derive(world, &mut out), peers);
    let context = Context {
        world,
        waypoints: &waypoints,
        services: &services,
        policies: &policies,
    };
    let mut members = workloads::derive(&context, &mut memory.pods, &mut out);
    members.extend(entries::workloads(&context, &mut out));
    members.extend(endpoint_slices::derive(world, &services, &mut out));
    let attached = policies::attach(world, &gateways, &services, &mut out);
    routes::derive(world, (&gateways, &attached), &services, &members, &mut out);
    out
}
