//! Kubernetes Services → `istio.workload.Service`.
//! In: every Service but ExternalName, its namespace, the waypoint it resolves to. Out: one Address
//! resource each, and a [`ServiceFact`] for workloads and routes.
//! Source: `Service.spec`; Istio's service conversion.

use crate::octets::octets;
use crate::out::Out;
use crate::ports;
use crate::resource::{Audience, Resource};
use crate::selector::{Labels, label};
use crate::statuses::Condition;
use crate::waypoints::{Bound, Resolution, Traffic, Waypoints};
use crate::world::World;
use ambit_api::{labels, type_urls, workload as pb};
use ambit_crds::istio::ServiceEntrySpec;
use ambit_crds::{Kind, ObjectKey, Resource as Object};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use pb::load_balancing::{HealthPolicy, Mode, Scope};
use std::net::IpAddr;

/// Prefers near endpoints; on a Service or a Namespace.
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// The object a service comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    Service(&'a Service),
    Entry(&'a Object<ServiceEntrySpec>),
}

/// A service as workloads and routes need it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceFact<'a> {
    pub(crate) origin: Origin<'a>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) hostname: String,
    /// `<namespace>/<hostname>`.
    pub(crate) key: String,
    pub(crate) ports: Vec<PortFact>,
    /// Gateway `<namespace>/<name>` that its traffic goes through, when bound.
    pub(crate) waypoint: Option<String>,
    /// Who has no service of that hostname means this one.
    pub(crate) canonical: bool,
    /// Virtual addresses, and blocks of them.
    pub(crate) addresses: Vec<IpNet>,
}

impl<'a> ServiceFact<'a> {
    /// The Service of Kubernetes, if it is one.
    pub(crate) fn service(&self) -> Option<&'a Service> {
        match self.origin {
            Origin::Service(object) => Some(object),
            Origin::Entry(_) => None,
        }
    }

    /// Labels of its object.
    pub(crate) fn labels(&self) -> Labels<'a> {
        match self.origin {
            Origin::Service(object) => object.metadata.labels.as_ref(),
            Origin::Entry(object) => object.metadata.labels.as_ref(),
        }
    }

    /// Whether it has a virtual address; what is headless is not served by waypoints.
    pub(crate) fn has_address(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Its first virtual address.
    pub(crate) fn first_address(&self) -> Option<IpAddr> {
        self.addresses.first().map(IpNet::addr)
    }
}

/// One TCP port of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortFact {
    pub(crate) number: u16,
    pub(crate) protocol: pb::AppProtocol,
}

/// Derives every service.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    waypoints: &Waypoints<'a>,
    out: &mut Out,
) -> Vec<ServiceFact<'a>> {
    world
        .services
        .iter()
        .filter_map(|((namespace, name), object)| {
            one(world, waypoints, (namespace, name), object, out)
        })
        .collect()
}

fn one<'a>(
    world: &World<'a>,
    waypoints: &Waypoints<'a>,
    (namespace, name): (&'a str, &'a str),
    object: &'a Service,
    out: &mut Out,
) -> Option<ServiceFact<'a>> {
    let spec = object.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let object_key = ObjectKey::new(Kind::Service, namespace, name);
    let addresses = match addresses(spec) {
        Ok(addresses) => addresses,
        Err(message) => {
            let condition = Condition::rejected("InvalidClusterIP", message);
            out.statuses.condition(object_key, condition);
            return None;
        }
    };
    let labels = object.metadata.labels.as_ref();
    let resolution = match label(labels, labels::GATEWAY_NAME) {
        // A waypoint has no waypoint.
        Some(_) => Resolution::None,
        None => waypoints.resolve(world, (namespace, labels), Traffic::Service, || {
            crate::waypoints::bound_before(object)
        }),
    };
    if let Some(condition) = resolution.condition() {
        out.statuses.condition(object_key, condition);
    }
    let bound = resolution.bound();
    let fact = fact(
        world,
        (namespace, name),
        (object, &addresses),
        bound.as_ref(),
    );
    let network = &world.config.network;
    let message = pb::Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        hostname: fact.hostname.clone(),
        addresses: addresses
            .iter()
            .map(|ip| pb::NetworkAddress {
                network: network.clone(),
                address: octets(*ip),
                length: None,
            })
            .collect(),
        ports: ports::tcp(spec.ports.as_ref())
            .filter_map(|port| {
                Some(pb::Port {
                    service_port: ports::number(port.port)?.into(),
                    target_port: ports::service_target(port).into(),
                    app_protocol: ports::app_protocol(port).into(),
                })
            })
            .collect(),
        waypoint: bound.map(|b| b.address),
        load_balancing: load_balancing(spec, object, world.namespace_annotations(namespace)),
        ip_families: families(spec).into(),
        canonical: true,
        ..Default::default()
    };
    let address = pb::Address {
        r#type: Some(pb::address::Type::Service(message)),
    };
    let aliases = addresses
        .iter()
        .map(|ip| format!("{network}/{ip}"))
        .collect();
    let resource = Resource::new(&address, aliases, Audience::Everyone);
    out.resources
        .put(type_urls::ADDRESS, fact.key.clone(), resource);
    Some(fact)
}

fn fact<'a>(
    world: &World<'a>,
    (namespace, name): (&'a str, &'a str),
    (object, addresses): (&'a Service, &[IpAddr]),
    bound: Option<&Bound>,
) -> ServiceFact<'a> {
    let ports = object.spec.as_ref().and_then(|s| s.ports.as_ref());
    ServiceFact {
        origin: Origin::Service(object),
        namespace,
        name,
        hostname: world.config.hostname(namespace, name),
        key: world.config.service_key(namespace, name),
        ports: ports::tcp(ports)
            .filter_map(|port| {
                Some(PortFact {
                    number: ports::number(port.port)?,
                    protocol: ports::app_protocol(port),
                })
            })
            .collect(),
        waypoint: bound.map(|b| b.gateway.clone()),
        canonical: true,
        addresses: addresses.iter().map(|ip| IpNet::from(*ip)).collect(),
    }
}

/// Virtual addresses; empty for `None`, the headless service.
fn addresses(spec: &ServiceSpec) -> Result<Vec<IpAddr>, String> {
    let many = spec.cluster_ips.as_deref().unwrap_or_default();
    let given = if many.is_empty() {
        spec.cluster_ip.as_slice()
    } else {
        many
    };
    match given {
        [] => Err("spec.clusterIP: give an address, or None for a headless service".to_owned()),
        [one] if one == "None" => Ok(Vec::new()),
        all => all
            .iter()
            .map(|text| {
                let wrong = |_| format!("spec.clusterIP: `{text}` is not an IP address");
                text.parse().map_err(wrong)
            })
            .collect(),
    }
}

fn families(spec: &ServiceSpec) -> pb::IpFamilies {
    let given = spec.ip_families.as_deref().unwrap_or_default();
    let has = |family: &str| given.iter().any(|f| f == family);
    match (has("IPv4"), has("IPv6")) {
        (true, true) => pb::IpFamilies::Dual,
        (true, false) => pb::IpFamilies::Ipv4Only,
        (false, true) => pb::IpFamilies::Ipv6Only,
        (false, false) => pb::IpFamilies::Automatic,
    }
}

fn load_balancing(
    spec: &ServiceSpec,
    object: &Service,
    namespace: Labels<'_>,
) -> Option<pb::LoadBalancing> {
    let distribution = spec
        .traffic_distribution
        .as_deref()
        .or_else(|| label(object.metadata.annotations.as_ref(), TRAFFIC_DISTRIBUTION))
        .or_else(|| label(namespace, TRAFFIC_DISTRIBUTION))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let zone = [Scope::Network, Scope::Region, Scope::Zone];
    let node = [Scope::Subzone, Scope::Node];
    let (mode, scopes) = if spec.internal_traffic_policy.as_deref() == Some("Local") {
        (Mode::Strict, vec![Scope::Node])
    } else {
        match distribution.as_str() {
            "preferclose" | "prefersamezone" => (Mode::Failover, zone.to_vec()),
            "prefersamenode" => (Mode::Failover, [&zone[..], &node[..]].concat()),
            _ => (Mode::UnspecifiedMode, Vec::new()),
        }
    };
    let unready = spec.publish_not_ready_addresses.unwrap_or(false);
    if mode == Mode::UnspecifiedMode && !unready {
        return None;
    }
    let health = if unready {
        HealthPolicy::AllowAll
    } else {
        HealthPolicy::OnlyHealthy
    };
    Some(pb::LoadBalancing {
        routing_preference: scopes.into_iter().map(Into::into).collect(),
        mode: mode.into(),
        health_policy: health.into(),
    })
}
