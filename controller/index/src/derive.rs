//! One derivation: gateways first, then waypoints, policies, services, workloads, routes.
//! In: the world, and what was remembered. Out: everything there should be but the resources of pods, which
//! stay in the memory; the index compares it with what there was.

use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::out::Out;
use crate::policies::Attachments;
use crate::routes;
use crate::waypoints::Waypoints;
use crate::workloads::{self, Context, Members, Remembered};
use crate::world::{Name, World};
use crate::{
    deployer, endpoint_slices, entries, gateways, peer_authentication, policies, revision,
    services, unserved,
};
use ambit_api::labels;
use ambit_crds::{Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};

/// What outlives a derivation.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Gateways `<namespace>/<name>` that were ready once: traffic through one that is gone is
    /// refused, not sent around it.
    pub(crate) seen_waypoints: BTreeSet<String>,
    /// Service accounts `<namespace>/<name>` of gateways of ours, as of now.
    pub(crate) gateway_accounts: BTreeSet<String>,
    /// Those that each gateway `<namespace>/<name>` has had, where nobody says that a pod is about to end.
    pub(crate) former_accounts: BTreeMap<String, BTreeSet<String>>,
    /// Addresses of ServiceEntries.
    pub(crate) allocated: entries::Allocated,
    /// What pods led to.
    pub(crate) pods: Remembered,
    /// What Services led to.
    pub(crate) services: services::Remembered,
    /// Slices that say more than pods do.
    pub(crate) slices: endpoint_slices::Remembered,
    /// What routers and clusters led to.
    pub(crate) routes: routes::Remembered,
}

impl Memory {
    /// Notes a change before it is applied. `place`: the root namespace, and whether the object's has gateways.
    pub(crate) fn changes(
        &mut self,
        key: &ObjectKey,
        (before, after): (Option<&Object>, Option<&Object>),
        place: (&str, bool),
    ) {
        let tag = revision::is_tag(key, before) || revision::is_tag(key, after);
        if tag || (key.kind == Kind::Namespace && network(before) != network(after)) {
            self.forget();
        }
        self.pods.changes(key, (before, after), place);
        self.services.changes(key);
        self.slices.changes(key, after);
        self.routes.changes(key, (before, after));
    }

    /// Without a cluster a pod's object is gone before its process, which still serves: its account goes on to be
    /// served as long as its gateway is there.
    fn keep_accounts(&mut self, gateways: &mut BTreeMap<Name<'_>, GatewayFact<'_>>) {
        let mut former = std::mem::take(&mut self.former_accounts);
        for gateway in gateways.values_mut().filter(|g| g.is_ours()) {
            let mut known = former.remove(&gateway.key).unwrap_or_default();
            known.append(&mut gateway.accounts);
            gateway.accounts.clone_from(&known);
            self.former_accounts.insert(gateway.key.clone(), known);
        }
    }

    /// Everything is derived anew: which objects count, or how they are addressed, may differ.
    fn forget(&mut self) {
        self.pods.forget();
        self.services = services::Remembered::default();
        self.slices = endpoint_slices::Remembered::default();
        self.routes = routes::Remembered::default();
    }
}

fn network(namespace: Option<&Object>) -> Option<&String> {
    namespace?.labels().get(labels::NETWORK)
}

/// Derives everything.
pub(crate) fn derive(world: &World<'_>, memory: &mut Memory) -> Out {
    let mut out = Out::default();
    unserved::report(world, &mut out);
    let mut gateways = gateways::derive(world);
    if world.config.waypoints == WaypointForm::Pods {
        memory.keep_accounts(&mut gateways);
    }
    let ours = gateways.values().filter(|g| g.is_ours());
    memory.gateway_accounts = ours.flat_map(|g| g.accounts.clone()).collect();
    deployer::derive(world, &gateways, &mut out);
    memory.seen_waypoints.extend(
        gateways
            .values()
            .filter(|g| g.address.is_some() && !g.is_ingress())
            .map(|g| g.key.clone()),
    );
    gateways::classic::report(world, &gateways, &mut out);
    let waypoints = Waypoints::new(&gateways, &memory.seen_waypoints);
    let mut services = services::derive(world, &waypoints, &mut memory.services, &mut out);
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
    workloads::derive(&context, &mut memory.pods);
    let mut others = entries::workloads(&context, &mut out);
    let slices = &mut memory.slices;
    others.extend(endpoint_slices::derive(world, &services, slices, &mut out));
    let attached = policies::attach(world, &gateways, &services, &mut out);
    let members = Members {
        pods: &memory.pods,
        others: &others,
    };
    let routed = (&services[..], &members);
    let routes = &mut memory.routes;
    routes::derive(world, (&gateways, &attached), routed, routes, &mut out);
    out
}
