//! Clusters that routes send to, and who serves them.
//! In: every (service, port, subset) that some route of some gateway needs. Out: one Cluster and one
//! Endpoints resource each, for exactly those gateways.

use super::{Place, destination_rule, protocol};
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector::{self, label};
use crate::services::{PortFact, ServiceFact};
use crate::workloads::Member;
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

    /// Puts out everything that is needed.
    pub(crate) fn put(self, world: &World<'_>, members: &[Member<'_>], out: &mut Out) {
        let mut by_service: BTreeMap<&str, Vec<&Member<'_>>> = BTreeMap::new();
        for need in self.0.values() {
            let behind = need.through.as_ref().unwrap_or(&need.service.key);
            by_service.entry(behind).or_default();
        }
        for member in members {
            for key in member.services.keys() {
                if let Some(backing) = by_service.get_mut(key.as_str()) {
                    backing.push(member);
                }
            }
        }
        for (name, need) in &self.0 {
            let rule = destination_rule::find(world, need.service, &need.namespaces);
            let subset = match need.subset.as_str() {
                "" => None,
                wanted => {
                    let subsets = rule.map(|r| &r.spec.subsets);
                    match subsets.into_iter().flatten().find(|s| s.name == wanted) {
                        Some(subset) => Some(&subset.labels),
                        // Its route refers to nothing: no cluster, and the request fails.
                        None => continue,
                    }
                }
            };
            let gateways: Vec<String> = need.gateways.iter().map(|g| (*g).to_owned()).collect();
            let accounts = need.accounts.iter().map(|a| (*a).to_owned());
            let audience = Audience::Gateways(accounts.collect());
            let mut cluster = pb::Cluster {
                name: name.clone(),
                service: need.service.key.clone(),
                port: need.port.number.into(),
                subset: need.subset.clone(),
                gateways: gateways.clone(),
                protocol: protocol(need.port.protocol).into(),
                ..Default::default()
            };
            destination_rule::apply(rule, &mut cluster);
            let (behind, port) = match &need.through {
                Some(waypoint) => (waypoint.as_str(), ports::HBONE),
                None => (need.service.key.as_str(), need.port.number),
            };
            if need.through.is_some() {
                cluster.authority = need.service.first_address().map_or_else(String::new, |ip| {
                    SocketAddr::new(ip, need.port.number).to_string()
                });
            }
            // The waypoint knows of subsets; its own pods have none.
            let subset = subset.filter(|_| need.through.is_none());
            let backing = by_service.get(behind);
            let endpoints = backing
                .into_iter()
                .flatten()
                .filter(|m| subset.is_none_or(|wanted| selector::matches(wanted, m.labels)))
                .filter_map(|m| endpoint(m, behind, port))
                .collect();
            let endpoints = pb::Endpoints {
                cluster: name.clone(),
                endpoints,
                gateways,
            };
            let resources = &mut out.resources;
            let cluster = Resource::new(&cluster, Vec::new(), audience.clone());
            resources.put(type_urls::CLUSTER, name.as_str(), cluster);
            let endpoints = Resource::new(&endpoints, Vec::new(), audience);
            resources.put(type_urls::ENDPOINTS, name.as_str(), endpoints);
        }
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

fn endpoint(member: &Member<'_>, service: &str, port: u16) -> Option<pb::Endpoint> {
    let ports = member.services.get(service)?;
    let (_, target) = ports.iter().find(|(number, _)| *number == port)?;
    Some(pb::Endpoint {
        workload_uid: member.uid.to_string(),
        target_port: (*target).into(),
        weight: member.weight,
    })
}
