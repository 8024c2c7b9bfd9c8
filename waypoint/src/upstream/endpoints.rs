//! Which endpoint of a cluster takes a request or a connection.
//! In: a view, a cluster, endpoints tried before. Out: a [`Target`] to connect to.
//! Endpoints are joined with workloads by uid: address, identity, health and tunnel come from there
//! alone. One that is unknown, unhealthy, without address or in another network takes nothing.

use super::Upstreams;
use super::balance::Active;
use super::by_host::Named;
use super::dialled::{self, is_kept};
use super::direct;
use super::race;
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
    /// Other addresses to try, of a name whose addresses are raced.
    pub(crate) also: Arc<[IpAddr]>,
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

/// What a client says itself of where it wants to go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// The address that it dialled, which some services keep.
    pub(crate) dialled: Option<SocketAddr>,
    /// Where the host of its request leads, if the cluster goes by that.
    pub(crate) named: Option<&'a Named>,
}

/// Picks an endpoint and counts the request there until the guard is dropped.
pub(crate) fn choose(
    upstreams: &Upstreams,
    (name, wish): (&ClusterName, Wish<'_>),
    tried: &[WorkloadUid],
) -> Result<(Target, Active), Failure> {
    let view = upstreams.state.load();
    let (cluster, members) = members((&upstreams.me, &view), name, wish)?;
    let mut balance = upstreams.balance.borrow_mut();
    let mut targets: SmallVec<[Usable; 16]> = SmallVec::new();
    let mut candidates: SmallVec<[Candidate; 16]> = SmallVec::new();
    for member in members {
        let Member::Usable {
            workload,
            address,
            also,
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
        targets.push((workload, address, also));
    }
    let mut rng = upstreams.rng();
    let fresh = Turn::starting_anywhere(&mut *rng);
    let turn = balance.turn(name, || fresh);
    let chosen = pick(cluster.load_balancer, &candidates, turn, &mut *rng);
    let (workload, address, also) = targets.swap_remove(chosen.ok_or(Failure::NoHealthyUpstream)?);
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
            also,
            expected,
            cluster,
        },
        active,
    ))
}

/// Who, where, and at which other addresses.
type Usable = (Arc<Workload>, SocketAddr, Arc<[IpAddr]>);

/// One endpoint of a cluster.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    /// It may take something.
    Usable {
        /// Who.
        workload: Arc<Workload>,
        /// The application's address.
        address: SocketAddr,
        /// Others that it has, where they are raced.
        also: Arc<[IpAddr]>,
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
    /// Where it is, is said by each request.
    #[error("addresses come from the Host of each request")]
    ByHost,
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
    wish: Wish<'_>,
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
        let only = dialled::member((me, view), service, wish.dialled);
        return Ok((cluster.clone(), std::iter::once(only).collect()));
    }
    if let Some(port) = cluster.by_host {
        return Ok((cluster.clone(), by_host(cluster, port, wish.named)));
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
        let usable = |ip, also: Arc<[IpAddr]>| Member::Usable {
            workload: workload.clone(),
            address: SocketAddr::new(ip, endpoint.target_port),
            also,
            weight: endpoint.weight,
        };
        match addresses((me, cluster), view.names(), workload, service) {
            Ok(Reach::Race(ips)) => members.push(usable(ips[0], ips[1..].into())),
            Ok(Reach::Each(ips)) => {
                members.extend(ips.into_iter().map(|ip| usable(ip, Arc::default())))
            }
            Err(why) => members.push(unusable(why)),
        }
    }
    Ok((cluster.clone(), members))
}

/// Addresses that the host of a request has.
fn by_host(cluster: &Cluster, port: u16, named: Option<&Named>) -> SmallVec<[Member; 16]> {
    let Some(named) = named else {
        let uid = format!("named/{}", cluster.service);
        let unusable = Member::Unusable {
            uid: uid.as_str().into(),
            why: Unusable::ByHost,
        };
        return std::iter::once(unusable).collect();
    };
    let found = named.endpoints(&cluster.service);
    let usable = found.map(|(workload, ip)| Member::Usable {
        workload,
        address: SocketAddr::new(ip, port),
        also: Arc::default(),
        weight: 1,
    });
    usable.collect()
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
        also: Arc::default(),
        weight: 1,
    };
    Ok((cluster, std::iter::once(only).collect()))
}

/// Addresses of a workload; never none.
enum Reach {
    /// Each may be an endpoint.
    Each(SmallVec<[IpAddr; 1]>),
    /// Whichever connects first, tried in this order.
    Race(SmallVec<[IpAddr; 4]>),
}

/// The address of a workload, or all those of its name.
fn addresses(
    (me, cluster): (&Me, &Cluster),
    names: &Names,
    workload: &Workload,
    service: Option<&Service>,
) -> Result<Reach, Unusable> {
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
        let usable = || known.iter().filter(allowed).copied();
        let first = usable().next().ok_or(Unusable::Unresolved)?;
        // In a tunnel whoever answers has to prove who it is: nothing is gained by a race there.
        if cluster.race && !is_tunnelled(workload) {
            return Ok(Reach::Race(race::order(usable())));
        }
        let same = usable().filter(|ip| ip.is_ipv4() == first.is_ipv4());
        return Ok(Reach::Each(same.collect()));
    }
    let found = workload.addresses.iter().find(allowed);
    let found = found.map(|ip| Reach::Each(smallvec![*ip]));
    found.ok_or(Unusable::NoAddress)
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
