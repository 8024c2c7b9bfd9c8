//! Clusters that routes send to.
//! In: every (service, port, subset) that some route of some gateway needs. Out: one Cluster resource each,
//! for exactly those gateways, and what its endpoints are (`endpoints`).

use super::endpoints::Served;
use super::{Place, destination_rule, protocol};
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector::label;
use crate::services::{PortFact, ServiceFact};
use crate::world::World;
use ambit_api::{ports, route as pb, type_urls};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Clusters needed so far, by name.
#[derive(Default)]
pub(crate) struct Clusters<'t, 'a>(BTreeMap<String, Need<'t, 'a>>);

struct Need<'t, 'a> {
    service: &'t ServiceFact<'a>,
    port: PortFact,
    subset: String,
    /// Service of the waypoint that stands in between.
    through: Option<String>,
    /// Gateways `<namespace>/<name>`.
    gateways: BTreeSet<&'t str>,
    /// Their service accounts.
    accounts: BTreeSet<&'t str>,
    /// Namespaces of those gateways.
    namespaces: BTreeSet<&'t str>,
}

impl<'t, 'a> Clusters<'t, 'a> {
    /// The name of the cluster, which the place's gateway needs from now on.
    pub(crate) fn need(
        &mut self,
        (world, place): (&World<'_>, Place<'t, 'a>),
        service: &'t ServiceFact<'a>,
        port: PortFact,
        subset: &str,
    ) -> String {
        let through = match place.gateway.is_ingress() {
            true => waypoint_between(world, service),
            false => None,
        };
        let mut name = name(&service.key, port.number, subset);
        if through.is_some() {
            name.push_str(THROUGH_WAYPOINT);
        }
        let need = self.0.entry(name.clone()).or_insert_with(|| Need {
            service,
            port,
            subset: subset.to_owned(),
            through,
            gateways: BTreeSet::new(),
            accounts: BTreeSet::new(),
            namespaces: BTreeSet::new(),
        });
        need.gateways.insert(&place.gateway.key);
        need.accounts.insert(&place.gateway.account);
        need.namespaces.insert(place.gateway.name.0);
        name
    }

    /// Puts out every cluster that is needed, and says whose endpoints each one has.
    pub(crate) fn put(self, world: &World<'_>, out: &mut Out) -> Vec<Served> {
        let needs = self.0.into_iter();
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
        // The waypoint knows of subsets; its own pods have none.
        let subset = subset.filter(|_| self.through.is_none()).cloned();
        let (behind, port) = match self.through {
            Some(waypoint) => {
                let address = self.service.first_address();
                cluster.authority = address.map_or_else(String::new, |ip| {
                    SocketAddr::new(ip, self.port.number).to_string()
                });
                (waypoint, ports::HBONE)
            }
            None => (self.service.key.clone(), self.port.number),
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

/// The Service of the waypoint that an ingress gateway must send through; upstream bypasses it unless a
/// label asks for it.
fn waypoint_between(world: &World<'_>, service: &ServiceFact<'_>) -> Option<String> {
    let own = label(service.labels(), INGRESS_USE_WAYPOINT);
    let asked = own.or_else(|| {
        let labels = world.namespace_labels(service.namespace);
        label(labels, INGRESS_USE_WAYPOINT)
    });
    if asked != Some("true") || !service.has_address() {
        return None;
    }
    let (namespace, name) = service.waypoint.as_deref()?.split_once('/')?;
    Some(world.config.service_key(namespace, name))
}

/// `<namespace>/<hostname>/<port>[/<subset>]`.
pub(crate) fn name(service: &str, port: u16, subset: &str) -> String {
    match subset {
        "" => format!("{service}/{port}"),
        subset => format!("{service}/{port}/{subset}"),
    }
}
