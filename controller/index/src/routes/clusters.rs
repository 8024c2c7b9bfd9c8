//! Clusters that routes send to, and who serves them.
//! In: every (service, port, subset) that some route of some gateway needs. Out: one Cluster and one
//! Endpoints resource each, for exactly those gateways.

use super::{Target, destination_rule, protocol};
use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector;
use crate::services::{PortFact, ServiceFact};
use crate::workloads::Member;
use crate::world::World;
use ambit_api::{route as pb, type_urls};
use std::collections::{BTreeMap, BTreeSet};

/// Clusters needed so far, by name.
#[derive(Default)]
pub(crate) struct Clusters<'t, 'a>(BTreeMap<String, Need<'t, 'a>>);

struct Need<'t, 'a> {
    service: &'t ServiceFact<'a>,
    port: PortFact,
    subset: String,
    /// Gateways `<namespace>/<name>`, which are their service accounts too.
    gateways: BTreeSet<&'t str>,
    /// Namespaces of those gateways.
    namespaces: BTreeSet<&'t str>,
}

impl<'t, 'a> Clusters<'t, 'a> {
    /// The name of the cluster, which the target's gateway needs from now on.
    pub(crate) fn need(
        &mut self,
        target: Target<'t, 'a>,
        service: &'t ServiceFact<'a>,
        port: PortFact,
        subset: &str,
    ) -> String {
        let name = name(&service.key, port.number, subset);
        let need = self.0.entry(name.clone()).or_insert_with(|| Need {
            service,
            port,
            subset: subset.to_owned(),
            gateways: BTreeSet::new(),
            namespaces: BTreeSet::new(),
        });
        need.gateways.insert(&target.gateway.key);
        need.namespaces.insert(target.gateway.name.0);
        name
    }

    /// Puts out everything that is needed.
    pub(crate) fn put(self, world: &World<'_>, members: &[Member<'_>], out: &mut Out) {
        let mut by_service: BTreeMap<&str, Vec<&Member<'_>>> = BTreeMap::new();
        for member in members {
            for key in member.services.keys() {
                by_service.entry(key).or_default().push(member);
            }
        }
        for (name, need) in self.0 {
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
            let audience = Audience::Gateways(gateways.clone().into());
            let mut cluster = pb::Cluster {
                name: name.clone(),
                service: need.service.key.clone(),
                port: need.port.number.into(),
                subset: need.subset,
                gateways: gateways.clone(),
                protocol: protocol(need.port.protocol).into(),
                ..Default::default()
            };
            destination_rule::apply(rule, &mut cluster);
            let backing = by_service.get(need.service.key.as_str());
            let endpoints = backing
                .into_iter()
                .flatten()
                .filter(|m| subset.is_none_or(|wanted| selector::matches(wanted, m.labels)))
                .filter_map(|m| endpoint(m, &need.service.key, need.port.number))
                .collect();
            let endpoints = pb::Endpoints {
                cluster: name.clone(),
                endpoints,
                gateways,
            };
            let resources = &mut out.resources;
            let cluster = Resource::new(&cluster, Vec::new(), audience.clone());
            resources.put(type_urls::CLUSTER, name.clone(), cluster);
            let endpoints = Resource::new(&endpoints, Vec::new(), audience);
            resources.put(type_urls::ENDPOINTS, name, endpoints);
        }
    }
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
        workload_uid: member.uid.clone(),
        target_port: (*target).into(),
        weight: 1,
    })
}
