//! `istio.workload.Service` → [`Service`].

use super::{ConvertError, gateway, port};
use crate::ids::ServiceKey;
use crate::service::{
    AppProtocol, IpFamilies, LoadBalancing, LoadBalancingMode, Scope, Service, ServicePort,
    Visibility,
};
use ambit_api::workload as pb;
use std::collections::BTreeMap;

/// Converts one service.
///
/// # Errors
/// The first field that is wrong.
pub fn from_proto(m: pb::Service) -> Result<Service, ConvertError> {
    let families = m.ip_families();
    let visibility = m.visibility();
    if m.namespace.is_empty() || m.hostname.is_empty() {
        return Err(ConvertError::new(
            "hostname",
            "namespace and hostname must not be empty",
        ));
    }
    let mut addresses = Vec::with_capacity(m.addresses.len());
    for (i, a) in m.addresses.into_iter().enumerate() {
        addresses.push(gateway::virtual_address(&format!("addresses[{i}]"), a)?);
    }
    let mut ports = BTreeMap::new();
    for (i, p) in m.ports.into_iter().enumerate() {
        let app_protocol = app_protocol(p.app_protocol());
        let service_port = port(&format!("ports[{i}].service_port"), p.service_port)?;
        let target_port = port(&format!("ports[{i}].target_port"), p.target_port)?;
        ports.insert(
            service_port,
            ServicePort {
                target_port,
                app_protocol,
            },
        );
    }
    Ok(Service {
        key: ServiceKey::new(&m.namespace, &m.hostname),
        name: m.name.into(),
        addresses,
        ports,
        // A name that is no SPIFFE id can match no peer, so it can be left out.
        subject_alt_names: m
            .subject_alt_names
            .iter()
            .filter_map(|s| s.parse().ok())
            .collect(),
        waypoint: gateway::optional("waypoint", m.waypoint)?,
        weighted_waypoints: gateway::weighted(m.weighted_waypoints)?,
        load_balancing: load_balancing(m.load_balancing.unwrap_or_default()),
        ip_families: match families {
            pb::IpFamilies::Automatic => IpFamilies::Automatic,
            pb::IpFamilies::Ipv4Only => IpFamilies::V4,
            pb::IpFamilies::Ipv6Only => IpFamilies::V6,
            pb::IpFamilies::Dual => IpFamilies::Dual,
        },
        canonical: m.canonical,
        visibility: match visibility {
            pb::service::Visibility::Public => Visibility::Public,
            pb::service::Visibility::Namespace => Visibility::Namespace,
        },
    })
}

fn app_protocol(p: pb::AppProtocol) -> AppProtocol {
    match p {
        pb::AppProtocol::Unknown => AppProtocol::Unknown,
        pb::AppProtocol::Http11 => AppProtocol::Http11,
        pb::AppProtocol::Http2 => AppProtocol::Http2,
        pb::AppProtocol::Grpc => AppProtocol::Grpc,
        pb::AppProtocol::Tcp => AppProtocol::Tcp,
        pb::AppProtocol::Tls => AppProtocol::Tls,
    }
}

fn load_balancing(m: pb::LoadBalancing) -> LoadBalancing {
    use pb::load_balancing as lb;
    let scope = |s: lb::Scope| {
        Some(match s {
            lb::Scope::UnspecifiedScope => return None,
            lb::Scope::Region => Scope::Region,
            lb::Scope::Zone => Scope::Zone,
            lb::Scope::Subzone => Scope::Subzone,
            lb::Scope::Node => Scope::Node,
            lb::Scope::Cluster => Scope::Cluster,
            lb::Scope::Network => Scope::Network,
        })
    };
    LoadBalancing {
        preference: m.routing_preference().filter_map(scope).collect(),
        mode: match m.mode() {
            lb::Mode::UnspecifiedMode => LoadBalancingMode::Any,
            lb::Mode::Strict => LoadBalancingMode::Strict,
            lb::Mode::Failover => LoadBalancingMode::Failover,
            lb::Mode::Passthrough => LoadBalancingMode::Passthrough,
        },
        allow_unhealthy: m.health_policy() == lb::HealthPolicy::AllowAll,
    }
}
