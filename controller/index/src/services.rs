//! Kubernetes Services → `istio.workload.Service`.
//! In: every Service but ExternalName, its namespace, the waypoint it resolves to. Out: one Address
//! resource each, and a [`ServiceFact`] for workloads and routes. What each led to is remembered with what
//! it was made from: its object (forgotten when that changes), its waypoint, and its namespace's annotation.
//! Source: `Service.spec`; Istio's service conversion.

use crate::connect_strategy;
use crate::octets::octets;
use crate::out::Out;
use crate::ports;
use crate::resource::{Audience, Resource};
use crate::selector::{Labels, label};
use crate::statuses::Condition;
use crate::waypoints::{Resolution, Waypoints};
use crate::world::{Name, World};
use ambit_api::{labels, type_urls, workload as pb};
use ambit_crds::istio::{Resolution as EntryResolution, ServiceEntrySpec};
use ambit_crds::{Kind, ObjectKey, Resource as Object};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use pb::load_balancing::{HealthPolicy, Mode, Scope};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

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
    /// The Gateway that a part of it goes through, and how many of a hundred.
    pub(crate) canary: Option<(String, u32)>,
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

    /// Whether names below its wildcard are resolved as requests name them.
    pub(crate) fn is_by_host(&self) -> bool {
        match self.origin {
            Origin::Service(_) => false,
            Origin::Entry(entry) => {
                entry.spec.resolution == EntryResolution::DynamicDns
                    && self.hostname.starts_with("*.")
            }
        }
    }

    /// Whether the addresses of its endpoints' names are raced.
    pub(crate) fn races(&self) -> bool {
        match self.origin {
            Origin::Service(_) => false,
            Origin::Entry(entry) => connect_strategy::races(entry),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortFact {
    pub(crate) number: u16,
    pub(crate) protocol: pb::AppProtocol,
}

/// What Services led to last time.
#[derive(Debug, Default)]
pub(crate) struct Remembered(HashMap<String, HashMap<String, Known>>);

/// What one Service led to, and from what beside itself.
#[derive(Debug)]
struct Known {
    resolution: Resolution,
    /// What its namespace says about near endpoints.
    distribution: Option<String>,
    shape: Shape,
    name: Arc<str>,
    resource: Resource,
}

/// The parts of a [`ServiceFact`] that are made.
#[derive(Clone, Debug)]
struct Shape {
    hostname: String,
    key: String,
    ports: Vec<PortFact>,
    addresses: Vec<IpNet>,
}

impl Remembered {
    /// Forgets a Service that changes.
    pub(crate) fn changes(&mut self, key: &ObjectKey) {
        if key.kind == Kind::Service
            && let Some(services) = self.0.get_mut(&*key.namespace)
        {
            services.remove(&*key.name);
        }
    }

    fn get(&self, (namespace, name): Name<'_>) -> Option<&Known> {
        self.0.get(namespace)?.get(name)
    }

    fn set(&mut self, (namespace, name): Name<'_>, known: Known) {
        let services = self.0.entry(namespace.to_owned()).or_default();
        services.insert(name.to_owned(), known);
    }
}

/// Derives every service. One whose object, waypoint and namespace say what they said leads to what it led to.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    waypoints: &Waypoints<'a>,
    remembered: &mut Remembered,
    out: &mut Out,
) -> Vec<ServiceFact<'a>> {
    let services = world.services.iter();
    services
        .filter_map(|(name, object)| one((world, waypoints), (*name, object), remembered, out))
        .collect()
}

fn one<'a>(
    (world, waypoints): (&World<'a>, &Waypoints<'a>),
    (place, object): (Name<'a>, &'a Service),
    remembered: &mut Remembered,
    out: &mut Out,
) -> Option<ServiceFact<'a>> {
    let (namespace, name) = place;
    let spec = object.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let object_key = || ObjectKey::new(Kind::Service, namespace, name);
    let labels = object.metadata.labels.as_ref();
    let resolution = match label(labels, labels::GATEWAY_NAME) {
        // A waypoint has no waypoint.
        Some(_) => Resolution::None,
        None => waypoints.of_service(world, (namespace, &object.metadata), || {
            crate::waypoints::bound_before(object)
        }),
    };
    let distribution = label(world.namespace_annotations(namespace), TRAFFIC_DISTRIBUTION);
    let same = |known: &&Known| {
        known.resolution == resolution && known.distribution.as_deref() == distribution
    };
    if remembered.get(place).filter(same).is_none() {
        match make(world, (place, object, spec), resolution.clone()) {
            Ok(known) => remembered.set(place, known),
            Err(message) => {
                let condition = Condition::rejected("InvalidClusterIP", message);
                out.statuses.condition(object_key(), condition);
                return None;
            }
        }
    }
    let known = remembered.get(place)?;
    if let Some(condition) = known.resolution.condition() {
        out.statuses.condition(object_key(), condition);
    }
    let resource = known.resource.clone();
    out.resources
        .put(type_urls::ADDRESS, known.name.clone(), resource);
    let shape = known.shape.clone();
    Some(ServiceFact {
        origin: Origin::Service(object),
        namespace,
        name,
        hostname: shape.hostname,
        key: shape.key,
        ports: shape.ports,
        waypoint: known.resolution.bound().map(|b| b.gateway),
        canary: known.resolution.canary(),
        canonical: true,
        addresses: shape.addresses,
    })
}

/// Everything but its status.
///
/// # Errors
/// Why its addresses cannot be used.
fn make(
    world: &World<'_>,
    ((namespace, name), object, spec): (Name<'_>, &Service, &ServiceSpec),
    resolution: Resolution,
) -> Result<Known, String> {
    let addresses = addresses(spec)?;
    let hostname = world.config.hostname(namespace, name);
    let key = world.config.service_key(namespace, name);
    let network = world.network;
    let message = pb::Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        hostname: hostname.clone(),
        addresses: addresses
            .iter()
            .map(|ip| pb::NetworkAddress {
                network: network.to_owned(),
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
        waypoint: resolution.bound().map(|b| b.address),
        weighted_waypoints: resolution.weighted(),
        load_balancing: load_balancing(spec, object, world.namespace_annotations(namespace)),
        ip_families: families(spec).into(),
        canonical: true,
        ..Default::default()
    };
    let address = pb::Address {
        r#type: Some(pb::address::Type::Service(message)),
    };
    let alias = |ip: &IpAddr| format!("{network}/{ip}");
    let aliases = addresses.iter().map(alias).collect();
    let distribution = label(world.namespace_annotations(namespace), TRAFFIC_DISTRIBUTION);
    let port = |port: &ServicePort| {
        Some(PortFact {
            number: ports::number(port.port)?,
            protocol: ports::app_protocol(port),
        })
    };
    Ok(Known {
        distribution: distribution.map(str::to_owned),
        name: key.as_str().into(),
        resource: Resource::new(&address, aliases, Audience::Everyone),
        shape: Shape {
            hostname,
            key,
            ports: ports::tcp(spec.ports.as_ref()).filter_map(port).collect(),
            addresses: addresses.iter().map(|ip| IpNet::from(*ip)).collect(),
        },
        resolution,
    })
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
