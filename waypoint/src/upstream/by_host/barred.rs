//! Addresses that a name must not lead to, because this waypoint would go where its client could not.
//! In: an address, the mesh. Out: why not, or nothing. Pure.
//! To dial from here is to be another machine: loopback and link are ours, and what the mesh protects takes us
//! for a stranger without identity, whom a policy about the client does not mean. Everything else the client
//! could have dialled itself.

use crate::me::Me;
use crate::outcome::Barred;
use crate::state::View;
use crate::upstream::endpoints::is_tunnelled;
use ambit_model::address::NetworkAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands against dialling an address.
pub(super) fn find((me, view): (&Me, &View), ip: IpAddr) -> Option<Barred> {
    let ip = ip.to_canonical();
    let by_kind = match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    };
    if by_kind.is_some() {
        return by_kind;
    }
    if me.ip == Some(ip) {
        return Some(Barred::Own);
    }
    let address = NetworkAddress::new(me.network.clone(), ip);
    let mesh = &view.mesh;
    let workload = mesh.workload_at(&address);
    if let Some(workload) = workload {
        if workload.services.contains_key(&me.service) {
            return Some(Barred::Own);
        }
        let protected = is_tunnelled(workload) || workload.waypoint.is_some();
        return protected.then_some(Barred::Mesh);
    }
    let service = mesh.service_at(&address, &me.namespace)?;
    if service.key == me.service {
        return Some(Barred::Own);
    }
    let mut behind = mesh.endpoints(&service.key);
    let protected = service.waypoint.is_some() || behind.any(|workload| is_tunnelled(workload));
    protected.then_some(Barred::Mesh)
}

fn v4(ip: Ipv4Addr) -> Option<Barred> {
    if ip.is_loopback() {
        Some(Barred::Loopback)
    } else if ip.octets()[0] == 0 {
        Some(Barred::Unspecified)
    } else if ip.is_link_local() {
        Some(Barred::LinkLocal)
    } else if ip.is_multicast() || ip.is_broadcast() {
        Some(Barred::Multicast)
    } else {
        None
    }
}

fn v6(ip: Ipv6Addr) -> Option<Barred> {
    if ip.is_loopback() {
        Some(Barred::Loopback)
    } else if ip.segments()[..6] == [0; 6] {
        // `::`, and the deprecated notation of IPv4 addresses.
        Some(Barred::Unspecified)
    } else if ip.is_unicast_link_local() {
        Some(Barred::LinkLocal)
    } else if ip.is_multicast() {
        Some(Barred::Multicast)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{State, Update};
    use ambit_api::{type_urls, workload as pb};
    use ambit_model::ids::{ServiceKey, SpiffeId};
    use ambit_telemetry::logging::Format;
    use prost::Message;

    fn me() -> Me {
        Me {
            identity: SpiffeId::new("cluster.local", "ns", "w"),
            gateway: "ns/w".into(),
            service: ServiceKey::new("ns", "w.ns.svc.cluster.local"),
            namespace: "ns".into(),
            network: "".into(),
            ip: Some([10, 244, 1, 9].into()),
            baggage: None,
            log_format: Format::Plain,
        }
    }

    fn workload(ip: [u8; 4], service: &str, tunnel: pb::TunnelProtocol) -> pb::Address {
        let workload = pb::Workload {
            uid: format!("{ip:?}"),
            name: "a".into(),
            namespace: "ns".into(),
            addresses: vec![ip.to_vec()],
            tunnel_protocol: tunnel.into(),
            services: [(format!("ns/{service}"), pb::PortList::default())].into(),
            ..Default::default()
        };
        pb::Address {
            r#type: Some(pb::address::Type::Workload(workload)),
        }
    }

    fn service(ip: [u8; 4], hostname: &str) -> pb::Address {
        let service = pb::Service {
            name: hostname.into(),
            namespace: "ns".into(),
            hostname: hostname.into(),
            addresses: vec![pb::NetworkAddress {
                address: ip.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        pb::Address {
            r#type: Some(pb::address::Type::Service(service)),
        }
    }

    fn mesh() -> State {
        let (state, mut writer) = State::new("ns/w");
        let (hbone, plain) = (pb::TunnelProtocol::Hbone, pb::TunnelProtocol::None);
        let all = [
            workload([10, 244, 1, 1], "in", hbone),
            workload([10, 244, 1, 2], "out", plain),
            service([10, 96, 0, 1], "in"),
            service([10, 96, 0, 2], "out"),
            workload([10, 244, 2, 9], "w.ns.svc.cluster.local", plain),
            service([10, 96, 0, 9], "w.ns.svc.cluster.local"),
        ];
        let named = all.iter().enumerate();
        let refused = writer.update(&Update {
            type_url: type_urls::ADDRESS.into(),
            resources: named
                .map(|(n, one)| (n.to_string(), one.encode_to_vec().into()))
                .collect(),
            removed: Vec::new(),
            first: true,
        });
        assert!(refused.is_empty(), "{refused:?}");
        state
    }

    #[test]
    fn only_what_the_client_could_dial_itself_is_dialled_for_it() {
        let state = mesh();
        let view = state.load();
        for (address, expected) in [
            ("127.0.0.1", Some(Barred::Loopback)),
            ("127.9.9.9", Some(Barred::Loopback)),
            ("::1", Some(Barred::Loopback)),
            ("::ffff:127.0.0.1", Some(Barred::Loopback)),
            ("0.0.0.0", Some(Barred::Unspecified)),
            ("0.1.2.3", Some(Barred::Unspecified)),
            ("::", Some(Barred::Unspecified)),
            ("::127.0.0.1", Some(Barred::Unspecified)),
            ("::ffff:0.0.0.0", Some(Barred::Unspecified)),
            ("169.254.169.254", Some(Barred::LinkLocal)),
            ("fe80::1", Some(Barred::LinkLocal)),
            ("::ffff:169.254.169.254", Some(Barred::LinkLocal)),
            ("224.0.0.1", Some(Barred::Multicast)),
            ("255.255.255.255", Some(Barred::Multicast)),
            ("ff02::1", Some(Barred::Multicast)),
            ("10.244.1.9", Some(Barred::Own)),
            ("::ffff:10.244.1.9", Some(Barred::Own)),
            ("10.244.2.9", Some(Barred::Own)),
            ("10.96.0.9", Some(Barred::Own)),
            ("10.244.1.1", Some(Barred::Mesh)),
            ("10.96.0.1", Some(Barred::Mesh)),
            ("10.244.1.2", None),
            ("10.96.0.2", None),
            ("10.0.0.1", None),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            let ip = address.parse().unwrap();
            assert_eq!(find((&me(), &view), ip), expected, "{address}");
        }
    }
}
