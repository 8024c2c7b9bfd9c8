//! Which endpoint of a cluster takes a request or a connection.
//! In: a view, a cluster, endpoints tried before. Out: a [`Target`] to connect to.
//! Endpoints are joined with workloads by uid: address, identity, health and tunnel come from there
//! alone. One that is unknown, unhealthy, without address or in another network takes nothing.

use super::Upstreams;
use super::balance::Active;
use crate::outcome::Failure;
use ambit_api::ports;
use ambit_model::ids::{ClusterName, SpiffeId, WorkloadUid};
use ambit_model::route::Cluster;
use ambit_model::service::Service;
use ambit_model::workload::{Health, TunnelProtocol, Workload};
use ambit_routing::http::balance::{Candidate, Turn, pick};
use ambit_routing::http::select::INVALID_BACKEND;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a connection goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who.
    pub(crate) workload: Arc<Workload>,
    /// The application's address.
    pub(crate) address: SocketAddr,
    /// Who may answer in a tunnel, sorted; empty: plain TCP.
    pub(crate) expected: Arc<[SpiffeId]>,
    /// Limits and protocol.
    pub(crate) cluster: Arc<Cluster>,
}

impl Target {
    /// Whether it is reached in a tunnel.
    pub(crate) fn is_tunnelled(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Address of its tunnel.
    pub(crate) fn tunnel(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), ports::HBONE)
    }
}

/// Picks an endpoint and counts the request there until the guard is dropped.
pub(crate) fn choose(
    upstreams: &Upstreams,
    name: &ClusterName,
    tried: &[WorkloadUid],
) -> Result<(Target, Active), Failure> {
    let view = upstreams.state.load();
    let cluster = view.cluster(name).ok_or(match name.as_str() {
        INVALID_BACKEND => Failure::InvalidBackend,
        _ => Failure::NoCluster,
    })?;
    let mut balance = upstreams.balance.borrow_mut();
    let mut targets: SmallVec<[(Arc<Workload>, SocketAddr); 16]> = SmallVec::new();
    let mut candidates: SmallVec<[Candidate; 16]> = SmallVec::new();
    let service = view.mesh.service(&cluster.service);
    for endpoint in view.endpoints(name).map_or(&[][..], |e| &e.endpoints) {
        let Some(workload) = view.mesh.workload(&endpoint.workload) else {
            continue;
        };
        let Some(address) = address(upstreams, workload, service.map(AsRef::as_ref)) else {
            continue;
        };
        candidates.push(Candidate {
            weight: endpoint.weight,
            active: balance.active(name, &workload.uid),
            tried: tried.contains(&workload.uid),
        });
        targets.push((
            workload.clone(),
            SocketAddr::new(address, endpoint.target_port),
        ));
    }
    let mut rng = upstreams.rng();
    let fresh = Turn::starting_anywhere(&mut *rng);
    let turn = balance.turn(name, || fresh);
    let chosen = pick(cluster.load_balancer, &candidates, turn, &mut *rng);
    let (workload, address) = targets.swap_remove(chosen.ok_or(Failure::NoHealthyUpstream)?);
    let active = balance.begin(name, &workload.uid);
    let expected = expected(&workload, service.map(AsRef::as_ref));
    Ok((
        Target {
            workload,
            address,
            expected,
            cluster: cluster.clone(),
        },
        active,
    ))
}

fn address(
    upstreams: &Upstreams,
    workload: &Workload,
    service: Option<&Service>,
) -> Option<std::net::IpAddr> {
    let any_health = service.is_some_and(|s| s.load_balancing.allow_unhealthy);
    let usable = (workload.health == Health::Healthy || any_health)
        && workload.network == upstreams.me.network;
    let allowed = |ip: &&std::net::IpAddr| service.is_none_or(|s| s.ip_families.allows(**ip));
    workload
        .addresses
        .iter()
        .find(allowed)
        .copied()
        .filter(|_| usable)
}

fn expected(workload: &Workload, service: Option<&Service>) -> Arc<[SpiffeId]> {
    match workload.tunnel {
        TunnelProtocol::None => Arc::new([]),
        TunnelProtocol::Hbone => {
            let mut ids = service.map_or_else(Vec::new, |s| s.subject_alt_names.clone());
            ids.push(workload.identity.clone());
            ids.sort();
            ids.dedup();
            ids.into()
        }
    }
}
