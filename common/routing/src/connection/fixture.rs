//! Small meshes for the decision tables.

use ambit_api::workload as pb;
use ambit_model::convert::{service, workload};
use ambit_model::snapshot::{Change, Snapshot};
use ambit_model::workload::Workload;
use std::sync::Arc;

pub(super) fn pod(name: &str, ip: &str) -> pb::Workload {
    pb::Workload {
        uid: format!("c//Pod/shop/{name}"),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        addresses: bytes(ip).into_iter().collect(),
        tunnel_protocol: pb::TunnelProtocol::Hbone.into(),
        node: "n1".into(),
        ..Default::default()
    }
}

/// A service of namespace `shop` with port 80 to 8080.
pub(super) fn svc(name: &str, vip: &str) -> pb::Service {
    pb::Service {
        name: name.into(),
        namespace: "shop".into(),
        hostname: host(name),
        addresses: bytes(vip)
            .map(|address| pb::NetworkAddress {
                address,
                ..Default::default()
            })
            .into_iter()
            .collect(),
        ports: vec![port(80, 8080)],
        ..Default::default()
    }
}

pub(super) fn host(name: &str) -> String {
    format!("{name}.shop.svc.cluster.local")
}

pub(super) fn port(service_port: u32, target_port: u32) -> pb::Port {
    pb::Port {
        service_port,
        target_port,
        app_protocol: 0,
    }
}

/// Makes `workload` an endpoint of the service `name`.
pub(super) fn backing(
    mut workload: pb::Workload,
    name: &str,
    ports: Vec<pb::Port>,
) -> pb::Workload {
    workload
        .services
        .insert(format!("shop/{}", host(name)), pb::PortList { ports });
    workload
}

pub(super) fn gateway(name: &str) -> pb::GatewayAddress {
    let hostname = pb::NamespacedHostname {
        namespace: "shop".into(),
        hostname: host(name),
    };
    pb::GatewayAddress {
        destination: Some(pb::gateway_address::Destination::Hostname(hostname)),
        hbone_mtls_port: 15008,
    }
}

pub(super) fn gateway_ip(ip: &str) -> pb::GatewayAddress {
    let address = pb::NetworkAddress {
        address: bytes(ip).unwrap(),
        ..Default::default()
    };
    pb::GatewayAddress {
        destination: Some(pb::gateway_address::Destination::Address(address)),
        hbone_mtls_port: 15008,
    }
}

/// A waypoint: its service and one pod.
pub(super) fn waypoint(name: &str, vip: &str, ip: &str) -> (pb::Workload, pb::Service) {
    let mut service = svc(name, vip);
    service.ports = vec![port(15008, 15008)];
    (
        backing(
            pod(&format!("{name}-pod"), ip),
            name,
            vec![port(15008, 15008)],
        ),
        service,
    )
}

pub(super) fn mesh(workloads: Vec<pb::Workload>, services: Vec<pb::Service>) -> Snapshot {
    let workloads = workloads
        .into_iter()
        .map(|w| Change::Workload(workload::from_proto(w).unwrap()));
    let services = services
        .into_iter()
        .map(|s| Change::Service(service::from_proto(s).unwrap()));
    Snapshot::default().apply(workloads.chain(services))
}

pub(super) fn named(snapshot: &Snapshot, name: &str) -> Arc<Workload> {
    snapshot.workload_named("shop", name).unwrap().clone()
}

fn bytes(ip: &str) -> Option<Vec<u8>> {
    Some(match ip.parse().ok()? {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    })
}
