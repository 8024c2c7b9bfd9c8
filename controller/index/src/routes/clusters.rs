//! Clusters that routes send to.
//! In: every (service, port, subset) that some route of some gateway needs. Out: one Cluster resource each,
//! for exactly those gateways, and what its endpoints are (`endpoints`).

use super::endpoints::{Behind, Served};
use super::{Place, destination_rule, protocol};
use crate::entry_ports;
use crate::gateways::GatewayFact;
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector::label;
use crate::services::{Origin, PortFact, ServiceFact};
use crate::world::{Name, World};
use ambit_api::workload::gateway_address::Destination;
use ambit_api::{route as pb, type_urls};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Clusters needed so far.
pub(crate) struct Clusters<'t, 'a> {
    gateways: &'t BTreeMap<Name<'a>, GatewayFact<'a>>,
    /// By name.
    needs: BTreeMap<String, Need<'t, 'a>>,
}

struct Need<'t, 'a> {
    service: &'t ServiceFact<'a>,
    port: PortFact,
    subset: String,
    /// Services of the waypoints that stand in between.
    through: Vec<Behind>,
    /// Gateways `<namespace>/<name>`.
    gateways: BTreeSet<&'t str>,
    /// Their service accounts.
    accounts: BTreeSet<&'t str>,
    /// Namespaces of those gateways.
    namespaces: BTreeSet<&'t str>,
}

impl<'t, 'a> Clusters<'t, 'a> {
    pub(crate) fn new(gateways: &'t BTreeMap<Name<'a>, GatewayFact<'a>>) -> Self {
        Self {
            gateways,
            needs: BTreeMap::new(),
        }
    }

    /// The name of the cluster, which the place's gateway needs from now on.
    pub(crate) fn need(
        &mut self,
        (world, place): (&World<'_>, Place<'t, 'a>),
        service: &'t ServiceFact<'a>,
        port: PortFact,
        subset: &str,
    ) -> String {
        let through = match place.gateway.is_ingress() {
            true => waypoints_between((world, self.gateways), service),
            false => Vec::new(),
        };
        let mut name = name(&service.key, port.number, subset);
        if !through.is_empty() {
            name.push_str(THROUGH_WAYPOINT);
        }
        let need = self.needs.entry(name.clone()).or_insert_with(|| Need {
            service,
            port,
            subset: subset.to_owned(),
            through,
            gateways: BTreeSet::new(),
            accounts: BTreeSet::new(),
            namespaces: BTreeSet::new(),
        });
        need.gateways.insert(&place.gateway.key);
        let accounts = place.gateway.accounts.iter().map(String::as_str);
        need.accounts.extend(accounts);
        need.namespaces.insert(place.gateway.name.0);
        name
    }

    /// Puts out every cluster that is needed, and says whose endpoints each one has.
    pub(crate) fn put(self, world: &World<'_>, out: &mut Out) -> Vec<Served> {
        let needs = self.needs.into_iter();
        needs
            .filter_map(|(name, need)| need.put(world, name, out))
            .collect()
    }
}

impl Need<'_, '_> {
    /// `None` when its subset is nowhere defined.
    fn put(self, world: &World<'_>, name: String, out: &mut Out) -> Option<Served> {
        let rule = destination_rule::find(world, self.service, &self.namespaces);
        let subset = match self.subset.as_str() {
            "" => None,
            wanted => {
                let subsets = rule.map(|r| &r.spec.subsets);
                // Its route refers to nothing: no cluster, and the request fails.
                let found = subsets.into_iter().flatten().find(|s| s.name == wanted)?;
                Some(&found.labels)
            }
        };
        let gateways: Vec<String> = self.gateways.iter().map(|g| (*g).to_owned()).collect();
        let accounts = self.accounts.iter().map(|a| (*a).to_owned());
        let audience = Audience::Gateways(accounts.collect());
        let mut cluster = pb::Cluster {
            name: name.clone(),
            service: self.service.key.clone(),
            port: self.port.number.into(),
            subset: self.subset.clone(),
            gateways: gateways.clone(),
            protocol: protocol(self.port.protocol).into(),
            ..Default::default()
        };
        destination_rule::apply(rule, &mut cluster);
        let own = self.through.is_empty();
        if let Origin::Entry(entry) = self.service.origin
            && own
        {
            cluster.race = self.service.races();
            if self.service.is_by_host() {
                cluster.by_host_port = entry_ports::target_of(&entry.spec, self.port.number).into();
            }
        }
        // The waypoint knows of subsets; its own pods have none.
        let subset = subset.filter(|_| own).cloned();
        let (behind, port) = match own {
            true => (
                vec![Behind::whole(self.service.key.clone())],
                Some(self.port.number),
            ),
            false => {
                let address = self.service.first_address();
                cluster.authority = address.map_or_else(String::new, |ip| {
                    SocketAddr::new(ip, self.port.number).to_string()
                });
                if self.through.len() > 1 {
                    // The only one that keeps to weights however busy endpoints are.
                    cluster.load_balancer = pb::LoadBalancer::RoundRobin.into();
                }
                (self.through, None)
            }
        };
        let resource = Resource::new(&cluster, Vec::new(), audience.clone());
        out.resources
            .put(type_urls::CLUSTER, name.as_str(), resource);
        Some(Served {
            cluster: name.into(),
            behind,
            port,
            subset,
            gateways,
            audience,
        })
    }
}

/// End of the name of a cluster that is reached through its service's waypoint.
const THROUGH_WAYPOINT: &str = "@waypoint";
/// Label of a Service or Namespace, `true`: ingress gateways send through the waypoint, too.
const INGRESS_USE_WAYPOINT: &str = "istio.io/ingress-use-waypoint";

/// The Services of the waypoints that an ingress gateway must send through; upstream bypasses them unless a
/// label asks for them.
fn waypoints_between(
    (world, gateways): (&World<'_>, &BTreeMap<Name<'_>, GatewayFact<'_>>),
    service: &ServiceFact<'_>,
) -> Vec<Behind> {
    let own = label(service.labels(), INGRESS_USE_WAYPOINT);
    let asked = own.or_else(|| {
        let labels = world.namespace_labels(service.namespace);
        label(labels, INGRESS_USE_WAYPOINT)
    });
    let Some(first) = service.waypoint.as_deref() else {
        return Vec::new();
    };
    if asked != Some("true") || !service.has_address() {
        return Vec::new();
    }
    let behind = |key: &str, percent| Behind {
        service: service_of((world, gateways), key),
        percent,
    };
    let Some((second, percent)) = &service.canary else {
        return vec![behind(first, 100)];
    };
    let parts = [(first, 100 - percent), (second, *percent)];
    let parts = parts.into_iter().filter(|(_, percent)| *percent > 0);
    parts.map(|(key, percent)| behind(key, percent)).collect()
}

/// The Service in front of a waypoint's pods. One that has none leads nowhere.
fn service_of(
    (world, gateways): (&World<'_>, &BTreeMap<Name<'_>, GatewayFact<'_>>),
    gateway: &str,
) -> String {
    let (namespace, name) = gateway.split_once('/').unwrap_or_default();
    let fact = gateways.get(&(namespace, name));
    let address = fact.and_then(|fact| fact.address.as_ref()?.destination.as_ref());
    match address {
        Some(Destination::Hostname(host)) => format!("{}/{}", host.namespace, host.hostname),
        Some(Destination::Address(_)) | None => world.config.service_key(namespace, name),
    }
}

/// `<namespace>/<hostname>/<port>[/<subset>]`.
pub(crate) fn name(service: &str, port: u16, subset: &str) -> String {
    match subset {
        "" => format!("{service}/{port}"),
        subset => format!("{service}/{port}/{subset}"),
    }
}
