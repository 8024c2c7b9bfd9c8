//! Which endpoint of a cluster takes a request or a connection.
//! In: a view, a cluster, endpoints tried before. Out: a [`Target`] to connect to.
//! Endpoints are joined with workloads by uid: address, identity, health and tunnel come from there
//! alone. One that is unknown, unhealthy, without address or in another network takes nothing.

use super::Upstreams;
use super::balance::Active;
use super::dialled::{self, is_kept};
use super::direct;
use crate::me::Me;
use crate::outcome::Failure;
use crate::state::{Names, View};
use ambit_api::ports;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::{ClusterName, SpiffeId, WorkloadUid};
use ambit_model::route::Cluster;
use ambit_model::service::Service;
use ambit_model::workload::{Health, TunnelProtocol, Workload};
use ambit_routing::http::balance::{Candidate, Turn, pick};
use ambit_routing::http::select::INVALID_BACKEND;
use smallvec::{SmallVec, smallvec};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;

/// Where a connection goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who.
    pub(crate) workload: Arc<Workload>,
    /// The application's address, or that of the service if a waypoint stands in between.
    pub(crate) address: SocketAddr,
    /// Where it is dialled.
    pub(crate) host: IpAddr,
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
        SocketAddr::new(self.host, ports::HBONE)
    }
}

/// Picks an endpoint and counts the request there until the guard is dropped. `dialled`: the address that
/// the client did, which some services keep.
pub(crate) fn choose(
    upstreams: &Upstreams,
    (name, dialled): (&ClusterName, Option<SocketAddr>),
    tried: &[WorkloadUid],
) -> Result<(Target, Active), Failure> {
    let view = upstreams.state.load();
    let (cluster, members) = members((&upstreams.me, &view), name, dialled)?;
    let mut balance = upstreams.balance.borrow_mut();
    let mut targets: SmallVec<[(Arc<Workload>, SocketAddr); 16]> = SmallVec::new();
    let mut candidates: SmallVec<[Candidate; 16]> = SmallVec::new();
    for member in members {
        let Member::Usable {
            workload,
            address,
            weight,
        } = member
        else {
            continue;
        };
        candidates.push(Candidate {
            weight,
            active: balance.active(name, &workload.uid),
            tried: tried.contains(&workload.uid),
        });
        targets.push((workload, address));
    }
    let mut rng = upstreams.rng();
    let fresh = Turn::starting_anywhere(&mut *rng);
    let turn = balance.turn(name, || fresh);
    let chosen = pick(cluster.load_balancer, &candidates, turn, &mut *rng);
    let (workload, address) = targets.swap_remove(chosen.ok_or(Failure::NoHealthyUpstream)?);
    let active = balance.begin(name, &workload.uid);
    let service = view.mesh.service(&cluster.service);
    // A waypoint answers as itself, not as the service.
    let service = service.filter(|_| cluster.authority.is_none());
    let expected = expected(&workload, service.map(AsRef::as_ref));
    Ok((
        Target {
            workload,
            address: cluster.authority.unwrap_or(address),
            host: address.ip(),
            expected,
            cluster,
        },
        active,
    ))
}

/// One endpoint of a cluster.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    /// It may take something.
    Usable {
        /// Who.
        workload: Arc<Workload>,
        /// The application's address.
        address: SocketAddr,
        /// Its share.
        weight: u32,
    },
    /// It takes nothing.
    Unusable {
        /// Who.
        uid: WorkloadUid,
        /// Why.
        why: Unusable,
    },
}

/// Why an endpoint takes nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Its workload has not arrived.
    #[error("its workload is not known")]
    Unknown,
    /// It is not ready.
    #[error("it is not ready")]
    Unhealthy,
    /// It is elsewhere.
    #[error("it is in another network")]
    OtherNetwork,
    /// It is a waypoint that cannot be reached by HBONE.
    #[error("it takes no tunnel")]
    NoTunnel,
    /// The service keeps the address dialled, and that is not one of its own.
    #[error("the address that was dialled is not the service's")]
    NotDialled,
    /// It has only a name, and that has no address now.
    #[error("its name does not resolve")]
    Unresolved,
    /// It has no address of a family that the service has.
    #[error("it has no address of the service's family")]
    NoAddress,
}

/// A cluster and its endpoints.
pub(crate) fn members(
    (me, view): (&Me, &View),
    name: &ClusterName,
    dialled: Option<SocketAddr>,
) -> Result<(Arc<Cluster>, SmallVec<[Member; 16]>), Failure> {
    if let Some(to) = direct::address(name) {
        return the_pod(me, view, to);
    }
    let cluster = view.cluster(name).ok_or(match name.as_str() {
        INVALID_BACKEND => Failure::InvalidBackend,
        _ => Failure::NoCluster,
    })?;
    let service = view.mesh.service(&cluster.service).map(AsRef::as_ref);
    if let Some(service) = service.filter(|s| cluster.authority.is_none() && is_kept(s)) {
        let only = dialled::member((me, view), service, dialled);
        return Ok((cluster.clone(), std::iter::once(only).collect()));
    }
    let endpoints = view.endpoints(name).map_or(&[][..], |e| &e.endpoints);
    let mut members = SmallVec::new();
    for endpoint in endpoints {
        let unusable = |why| Member::Unusable {
            uid: endpoint.workload.clone(),
            why,
        };
        let Some(workload) = view.mesh.workload(&endpoint.workload) else {
            members.push(unusable(Unusable::Unknown));
            continue;
        };
        // Nobody but a waypoint that proves itself may be asked for another's address.
        if cluster.authority.is_some() && !is_tunnelled(workload) {
            members.push(unusable(Unusable::NoTunnel));
            continue;
        }
        let service = service.filter(|_| cluster.authority.is_none());
        match addresses(me, view.names(), workload, service) {
            Ok(ips) => members.extend(ips.into_iter().map(|ip| Member::Usable {
                workload: workload.clone(),
                address: SocketAddr::new(ip, endpoint.target_port),
                weight: endpoint.weight,
            })),
            Err(why) => members.push(unusable(why)),
        }
    }
    Ok((cluster.clone(), members))
}

/// A pod that was addressed itself: whether it is ready is its caller's concern.
fn the_pod(
    me: &Me,
    view: &View,
    to: SocketAddr,
) -> Result<(Arc<Cluster>, SmallVec<[Member; 16]>), Failure> {
    let address = NetworkAddress::new(me.network.clone(), to.ip());
    let workload = view.mesh.workload_at(&address);
    let workload = workload.ok_or(Failure::NoHealthyUpstream)?;
    let cluster = direct::cluster(workload, to).ok_or(Failure::NoCluster)?;
    let only = Member::Usable {
        workload: workload.clone(),
        address: to,
        weight: 1,
    };
    Ok((cluster, std::iter::once(only).collect()))
}

/// The address of a workload, or all those of its name. Never empty.
fn addresses(
    me: &Me,
    names: &Names,
    workload: &Workload,
    service: Option<&Service>,
) -> Result<SmallVec<[IpAddr; 1]>, Unusable> {
    let any_health = service.is_some_and(|s| s.load_balancing.allow_unhealthy);
    if workload.health != Health::Healthy && !any_health {
        return Err(Unusable::Unhealthy);
    }
    if workload.network != me.network {
        return Err(Unusable::OtherNetwork);
    }
    let allowed = |ip: &&IpAddr| service.is_none_or(|s| s.ip_families.allows(**ip));
    if workload.addresses.is_empty() && !workload.hostname.is_empty() {
        let known = names.of(&workload.hostname);
        let usable: SmallVec<[IpAddr; 1]> = known.iter().filter(allowed).copied().collect();
        return match usable.is_empty() {
            true => Err(Unusable::Unresolved),
            false => Ok(usable),
        };
    }
    let found = workload.addresses.iter().find(allowed);
    found.map(|ip| smallvec![*ip]).ok_or(Unusable::NoAddress)
}

/// Whether a workload is reached in a tunnel.
pub(crate) fn is_tunnelled(workload: &Workload) -> bool {
    workload.tunnel == TunnelProtocol::Hbone
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
