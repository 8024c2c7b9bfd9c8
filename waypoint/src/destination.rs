//! What a CONNECT addresses, and whether this waypoint serves it.
//! In: an authority, a view. Out: a service whose routes we run, or a pod that names us as its
//! waypoint; else nothing. Pure.

use crate::downstream::Addressed;
use crate::me::Me;
use crate::state::View;
use crate::upstream::direct;
use ambit_hbone::wire::{Authority, Host};
use ambit_model::address::NetworkAddress;
use ambit_model::route::Protocol;
use ambit_model::waypoint::GatewayDestination;
use ambit_model::workload::Workload;
use std::net::SocketAddr;

/// What is addressed.
pub(crate) struct Destination {
    /// Service or pod.
    pub(crate) addressed: Addressed,
    /// Its address.
    pub(crate) local: SocketAddr,
    /// What is spoken on that port.
    pub(crate) protocol: Protocol,
}

/// Finds it; `None`: it is not known, or not ours.
pub(crate) fn find(me: &Me, view: &View, authority: &Authority) -> Option<Destination> {
    let namespace = &me.namespace;
    let (service, ip) = match &authority.host {
        Host::Ip(ip) => {
            let address = NetworkAddress::new(me.network.clone(), *ip);
            let service = view.mesh.service_at(&address, namespace);
            if let Some(found) = pod(me, view, (address, authority.port)) {
                return Some(found);
            }
            (service?, *ip)
        }
        Host::Name(name) => {
            let service = view.mesh.service_by_hostname(name, namespace)?;
            (service, service.addresses.first()?.block.addr())
        }
    };
    let router = view.router(&service.key, authority.port)?;
    Some(Destination {
        addressed: Addressed::Service(service.clone()),
        local: SocketAddr::new(ip, authority.port),
        protocol: router.protocol,
    })
}

/// The pod at an address, if it names us as its waypoint.
fn pod(me: &Me, view: &View, (address, port): (NetworkAddress, u16)) -> Option<Destination> {
    let local = SocketAddr::new(address.ip, port);
    let workload = view.mesh.workload_at(&address)?;
    if !is_ours(me, view, workload) {
        return None;
    }
    let router = direct::router(&me.gateway, workload, local)?;
    Some(Destination {
        local,
        protocol: router.protocol,
        addressed: Addressed::Pod {
            workload: workload.clone(),
            router,
        },
    })
}

fn is_ours(me: &Me, view: &View, workload: &Workload) -> bool {
    let waypoint = workload.waypoint.as_ref().map(|w| &w.destination);
    match waypoint {
        None => false,
        Some(GatewayDestination::Hostname(key)) => me.is_behind(&view.mesh, key),
        Some(GatewayDestination::Address(address)) => {
            let service = view.mesh.service_at(address, &me.namespace);
            service.is_some_and(|s| me.is_behind(&view.mesh, &s.key))
        }
    }
}
