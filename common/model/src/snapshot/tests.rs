use super::*;
use crate::convert::{service, workload};
use ambit_api::workload as pb;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn wl(uid: &str, ip: [u8; 4], host: Option<&str>) -> Change {
    let services = host
        .map(|h| {
            let ports = vec![pb::Port {
                service_port: 80,
                target_port: 8080,
                app_protocol: 0,
            }];
            [(format!("ns/{h}"), pb::PortList { ports })].into()
        })
        .unwrap_or_default();
    let message = pb::Workload {
        uid: uid.into(),
        name: uid.rsplit('/').next().unwrap().into(),
        namespace: "ns".into(),
        addresses: vec![ip.to_vec()],
        services,
        ..Default::default()
    };
    Change::Workload(workload::from_proto(message).unwrap())
}

fn svc(namespace: &str, host: &str, ip: [u8; 4], length: u32, canonical: bool) -> Change {
    let message = pb::Service {
        name: host.into(),
        namespace: namespace.into(),
        hostname: host.into(),
        addresses: vec![pb::NetworkAddress {
            network: String::new(),
            address: ip.to_vec(),
            length: Some(length),
        }],
        ports: vec![pb::Port {
            service_port: 80,
            target_port: 8080,
            app_protocol: 0,
        }],
        canonical,
        ..Default::default()
    };
    Change::Service(service::from_proto(message).unwrap())
}

fn at(ip: [u8; 4]) -> NetworkAddress {
    NetworkAddress::new("".into(), IpAddr::V4(Ipv4Addr::from(ip)))
}

#[test]
fn a_workload_address_wins_over_a_virtual_one() {
    let s = Snapshot::default().apply([
        svc("ns", "a", [10, 0, 0, 1], 32, true),
        wl("c//Pod/ns/p", [10, 0, 0, 1], None),
    ]);
    assert!(matches!(
        s.lookup(&at([10, 0, 0, 1]), "ns"),
        Some(Found::Workload(_))
    ));
}

#[test]
fn the_longest_block_wins_and_the_clients_namespace_among_equals() {
    let s = Snapshot::default().apply([
        svc("x", "wide", [10, 0, 0, 0], 8, true),
        svc("x", "near", [10, 1, 0, 0], 16, true),
        svc("ns", "near", [10, 1, 0, 0], 16, false),
    ]);
    let found = s.service_at(&at([10, 1, 2, 3]), "ns").unwrap();
    assert_eq!(found.key, ServiceKey::new("ns", "near"));
    let found = s.service_at(&at([10, 1, 2, 3]), "other").unwrap();
    assert_eq!(found.key, ServiceKey::new("x", "near"));
    let found = s.service_at(&at([10, 9, 2, 3]), "ns").unwrap();
    assert_eq!(found.key, ServiceKey::new("x", "wide"));
}

#[test]
fn endpoints_may_come_before_their_service_and_an_update_of_the_service_keeps_them() {
    let s = Snapshot::default().apply([wl("c//Pod/ns/p", [10, 0, 0, 9], Some("a"))]);
    let key = ServiceKey::new("ns", "a");
    assert_eq!(s.endpoint_count(&key), 1);
    let s = s.apply([svc("ns", "a", [10, 96, 0, 0], 24, true)]);
    let s = s.apply([svc("ns", "a", [10, 96, 0, 0], 24, true)]);
    assert_eq!(s.endpoint_count(&key), 1);
    assert_eq!(s.blocks.len(), 1, "an update replaces its block");
    let s = s.apply([Change::RemoveAddress("c//Pod/ns/p".into())]);
    assert_eq!(s.endpoint_count(&key), 0);
}

#[test]
fn an_old_snapshot_does_not_change() {
    let old = Snapshot::default().apply([wl("c//Pod/ns/p", [10, 0, 0, 9], Some("a"))]);
    let new = old.apply([Change::RemoveAddress("c//Pod/ns/p".into())]);
    assert_eq!(old.workloads().count(), 1);
    assert_eq!(new.workloads().count(), 0);
    assert!(new.generation() > old.generation());
}

proptest! {
    /// Whatever comes and goes, removing everything leaves no index entry behind.
    #[test]
    fn nothing_is_left_when_all_is_removed(ops in prop::collection::vec((0u8..6, 0u8..4, any::<bool>()), 0..40)) {
        let mut s = Snapshot::default();
        for (name, ip, add) in &ops {
            let uid = format!("c//Pod/ns/p{name}");
            let host = format!("h{name}");
            s = if *add {
                s.apply([wl(&uid, [10, 0, 0, *ip], Some(&host)), svc("ns", &host, [10, 96, 0, *ip], 24 + u32::from(*ip) * 2, true)])
            } else {
                s.apply([Change::RemoveAddress(uid), Change::RemoveAddress(format!("ns/{host}"))])
            };
        }
        for name in 0..6 {
            s = s.apply([Change::RemoveAddress(format!("c//Pod/ns/p{name}")), Change::RemoveAddress(format!("ns/h{name}"))]);
        }
        prop_assert_eq!((s.holders.size(), s.endpoints.size(), s.names.size(), s.hostnames.size(), s.blocks.len()), (0, 0, 0, 0, 0));
    }
}
