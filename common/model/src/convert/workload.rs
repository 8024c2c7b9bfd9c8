//! `istio.workload.Workload` → [`Workload`].

use super::{ConvertError, gateway, ip, port};
use crate::ids::{DEFAULT_TRUST_DOMAIN, PolicyKey, ServiceKey, SpiffeId};
use crate::workload::{
    ApplicationTunnel, Canonical, Health, Locality, TunnelProtocol, Workload, WorkloadType,
};
use ambit_api::workload as pb;
use std::collections::BTreeMap;

/// Converts one workload.
///
/// # Errors
/// The first field that is wrong. Unknown enum values take the proto default, except a tunnel
/// protocol we cannot speak, which would otherwise become plaintext.
pub fn from_proto(m: pb::Workload) -> Result<Workload, ConvertError> {
    if m.uid.is_empty() {
        return Err(ConvertError::new("uid", "must not be empty"));
    }
    if !m.addresses.is_empty() && !m.hostname.is_empty() {
        return Err(ConvertError::new(
            "hostname",
            "a workload has addresses or a hostname, not both",
        ));
    }
    let mut addresses = Vec::with_capacity(m.addresses.len());
    for (i, bytes) in m.addresses.iter().enumerate() {
        addresses.push(ip(&format!("addresses[{i}]"), bytes)?);
    }
    let identity = SpiffeId::new(
        or(&m.trust_domain, DEFAULT_TRUST_DOMAIN),
        &m.namespace,
        or(&m.service_account, "default"),
    );
    let application_tunnel = m
        .application_tunnel
        .map(|t| {
            Ok::<_, ConvertError>(ApplicationTunnel {
                proxy_protocol: t.protocol() == pb::application_tunnel::Protocol::Proxy,
                port: port("application_tunnel.port", t.port)?,
            })
        })
        .transpose()?;
    let locality = m.locality.unwrap_or_default();
    Ok(Workload {
        tunnel: tunnel(m.tunnel_protocol)?,
        health: match pb::WorkloadStatus::try_from(m.status) {
            Ok(pb::WorkloadStatus::Healthy) => Health::Healthy,
            _ => Health::Unhealthy,
        },
        workload_type: match pb::WorkloadType::try_from(m.workload_type) {
            Ok(pb::WorkloadType::Cronjob) => WorkloadType::CronJob,
            Ok(pb::WorkloadType::Pod) => WorkloadType::Pod,
            Ok(pb::WorkloadType::Job) => WorkloadType::Job,
            _ => WorkloadType::Deployment,
        },
        services: services(m.services)?,
        policies: policies(&m.authorization_policies)?,
        waypoint: gateway::optional("waypoint", m.waypoint)?,
        network_gateway: gateway::optional("network_gateway", m.network_gateway)?,
        uid: m.uid.into(),
        name: m.name.into(),
        namespace: m.namespace.into(),
        addresses,
        hostname: m.hostname.into(),
        network: m.network.into(),
        native_tunnel: m.native_tunnel,
        identity,
        node: m.node.into(),
        canonical: Canonical {
            name: m.canonical_name.into(),
            revision: m.canonical_revision.into(),
        },
        workload_name: m.workload_name.into(),
        cluster_id: or(&m.cluster_id, "Kubernetes").into(),
        locality: Locality {
            region: locality.region.into(),
            zone: locality.zone.into(),
            subzone: locality.subzone.into(),
        },
        host_network: m.network_mode == pb::NetworkMode::HostNetwork as i32,
        application_tunnel,
        capacity: m.capacity.unwrap_or(1),
    })
}

fn or<'a>(value: &'a str, default: &'a str) -> &'a str {
    if value.is_empty() { default } else { value }
}

fn tunnel(value: i32) -> Result<TunnelProtocol, ConvertError> {
    match pb::TunnelProtocol::try_from(value) {
        Ok(pb::TunnelProtocol::None) => Ok(TunnelProtocol::None),
        Ok(pb::TunnelProtocol::Hbone) => Ok(TunnelProtocol::Hbone),
        _ => Err(ConvertError::new(
            "tunnel_protocol",
            format!("{value} is not supported"),
        )),
    }
}

fn services(
    map: BTreeMap<String, pb::PortList>,
) -> Result<BTreeMap<ServiceKey, BTreeMap<u16, u16>>, ConvertError> {
    let mut out = BTreeMap::new();
    for (name, list) in map {
        let key: ServiceKey = name
            .parse()
            .map_err(|e| ConvertError::new("services", format!("{e}")))?;
        let mut ports = BTreeMap::new();
        for (i, p) in list.ports.into_iter().enumerate() {
            let field = |f: &str| format!("services[{name}].ports[{i}].{f}");
            ports.insert(
                port(&field("service_port"), p.service_port)?,
                port(&field("target_port"), p.target_port)?,
            );
        }
        out.insert(key, ports);
    }
    Ok(out)
}

fn policies(names: &[String]) -> Result<Vec<PolicyKey>, ConvertError> {
    names
        .iter()
        .map(|n| {
            n.parse()
                .map_err(|e| ConvertError::new("authorization_policies", format!("{e}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_protocol() {
        let w = from_proto(pb::Workload {
            uid: "c//Pod/ns/p".into(),
            namespace: "ns".into(),
            ..Default::default()
        })
        .unwrap();
        assert_eq!(
            w.identity.to_string(),
            "spiffe://cluster.local/ns/ns/sa/default"
        );
        assert_eq!((&*w.cluster_id, w.capacity), ("Kubernetes", 1));
    }

    #[test]
    fn bad_fields_are_named() {
        let case = |change: fn(&mut pb::Workload)| {
            let mut m = pb::Workload {
                uid: "u".into(),
                ..Default::default()
            };
            change(&mut m);
            from_proto(m).unwrap_err().field
        };
        assert_eq!(case(|m| m.uid.clear()), "uid");
        assert_eq!(case(|m| m.addresses = vec![vec![1, 2]]), "addresses[0]");
        assert_eq!(case(|m| m.tunnel_protocol = 2), "tunnel_protocol");
        assert_eq!(
            case(|m| {
                let ports = vec![pb::Port {
                    service_port: 70000,
                    ..Default::default()
                }];
                m.services.insert("a/b".into(), pb::PortList { ports });
            }),
            "services[a/b].ports[0].service_port"
        );
        assert_eq!(
            case(|m| {
                m.addresses = vec![vec![1, 2, 3, 4]];
                m.hostname = "h".into();
            }),
            "hostname"
        );
    }
}
