//! Mesh objects for tests: pods, services and snapshots in a few words.

use ambit_api::workload as pb;
use ambit_model::Snapshot;
use ambit_model::convert;
use ambit_model::snapshot::{Change, Synced};
use std::net::IpAddr;

fn bytes(ip: &str) -> Vec<u8> {
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// A pod whose labels are all its name; `change` completes it.
pub(crate) fn pod(
    namespace: &str,
    name: &str,
    ip: &str,
    change: impl FnOnce(&mut pb::Workload),
) -> Change {
    let mut workload = pb::Workload {
        uid: format!("Kubernetes//Pod/{namespace}/{name}"),
        name: name.into(),
        namespace: namespace.into(),
        addresses: vec![bytes(ip)],
        tunnel_protocol: pb::TunnelProtocol::Hbone as i32,
        service_account: name.into(),
        canonical_name: name.into(),
        canonical_revision: "v1".into(),
        workload_name: name.into(),
        ..Default::default()
    };
    change(&mut workload);
    Change::Workload(convert::workload::from_proto(workload).unwrap())
}

/// A service with one port, 80 → 8080.
pub(crate) fn service(namespace: &str, hostname: &str, vips: &[&str]) -> Change {
    let addresses = vips.iter().map(|ip| pb::NetworkAddress {
        address: bytes(ip),
        ..Default::default()
    });
    Change::Service(
        convert::service::from_proto(pb::Service {
            name: hostname.split('.').next().unwrap_or_default().into(),
            namespace: namespace.into(),
            hostname: hostname.into(),
            addresses: addresses.collect(),
            ports: vec![pb::Port {
                service_port: 80,
                target_port: 8080,
                ..Default::default()
            }],
            ..Default::default()
        })
        .unwrap(),
    )
}

/// Makes a pod an endpoint of `namespace/hostname`.
pub(crate) fn backs(workload: &mut pb::Workload, service: &str) {
    let ports = vec![pb::Port {
        service_port: 80,
        target_port: 8080,
        ..Default::default()
    }];
    workload
        .services
        .insert(service.into(), pb::PortList { ports });
}

/// A complete snapshot of these.
pub(crate) fn snapshot(changes: Vec<Change>) -> Snapshot {
    let synced = Change::Synced(Synced {
        addresses: true,
        authorizations: true,
    });
    Snapshot::default().apply(changes.into_iter().chain([synced]))
}
