//! Services that keep the address the application dialled (ServiceEntry of resolution NONE).
//! In: the service, the address dialled. Out: that address as the only endpoint, if it is the service's.
//! Never here: an address that no block of the service has, whatever a route says.

use super::endpoints::{Member, Unusable};
use crate::me::Me;
use crate::state::View;
use ambit_api::workload as pb;
use ambit_model::address::NetworkAddress;
use ambit_model::convert;
use ambit_model::service::{LoadBalancingMode, Service};
use ambit_model::workload::Workload;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Whether a service does so.
pub(super) fn is_kept(service: &Service) -> bool {
    service.load_balancing.mode == LoadBalancingMode::Passthrough
}

/// The endpoint. `dialled` is `None` for who dialled no address of a service.
pub(super) fn member(
    (me, view): (&Me, &View),
    service: &Service,
    dialled: Option<SocketAddr>,
) -> Member {
    let ours = |ip: IpAddr| {
        let blocks = service.addresses.iter();
        blocks
            .filter(|a| a.network == me.network)
            .any(|a| a.block.contains(&ip))
    };
    let found = dialled.filter(|to| ours(to.ip())).and_then(|to| {
        let address = NetworkAddress::new(me.network.clone(), to.ip());
        let known = view.mesh.workload_at(&address).cloned();
        Some((known.or_else(|| stranger(service, to.ip()))?, to))
    });
    match found {
        Some((workload, address)) => Member::Usable {
            workload,
            address,
            also: Arc::default(),
            weight: 1,
        },
        None => Member::Unusable {
            uid: uid(service, dialled.map(|to| to.ip())).as_str().into(),
            why: Unusable::NotDialled,
        },
    }
}

/// Whoever has the address, reached in plaintext.
fn stranger(service: &Service, ip: IpAddr) -> Option<Arc<Workload>> {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let network = service.addresses.first().map(|a| a.network.as_str());
    let message = pb::Workload {
        uid: uid(service, Some(ip)),
        name: service.name.to_string(),
        namespace: service.key.namespace.to_string(),
        addresses: vec![octets],
        network: network.unwrap_or_default().to_owned(),
        workload_name: service.name.to_string(),
        canonical_name: service.name.to_string(),
        canonical_revision: "latest".to_owned(),
        ..Default::default()
    };
    convert::workload::from_proto(message).ok().map(Arc::new)
}

fn uid(service: &Service, ip: Option<IpAddr>) -> String {
    let ip = ip.map_or_else(String::new, |ip| ip.to_string());
    format!("dialled/{}/{ip}", service.key)
}
