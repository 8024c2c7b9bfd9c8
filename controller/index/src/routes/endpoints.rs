//! Who serves each cluster.
//! In: the clusters, the pods behind each service, and what else is. Out: one Endpoints resource each. One
//! behind whose service no pod changed is what it was.

use crate::out::Out;
use crate::resource::{Audience, Resource};
use crate::selector;
use crate::workloads::{Member, Members};
use crate::world::World;
use ambit_api::{route as pb, type_urls};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the endpoints of a cluster are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(super) cluster: Arc<str>,
    /// Key of the service that they are behind, and its port.
    pub(super) behind: String,
    pub(super) port: u16,
    /// Labels that they have.
    pub(super) subset: Option<BTreeMap<String, String>>,
    /// Gateways `<namespace>/<name>`.
    pub(super) gateways: Vec<String>,
    pub(super) audience: Audience,
}

/// Endpoints of the last derivation, by cluster.
#[derive(Debug, Default)]
pub(crate) struct Remembered(HashMap<Arc<str>, Known>);

#[derive(Debug)]
struct Known {
    served: Served,
    stamp: u64,
    resource: Resource,
}

/// Puts out the endpoints of every cluster.
pub(super) fn put(
    world: &World<'_>,
    all: &[Served],
    members: &Members<'_, '_>,
    remembered: &mut Remembered,
    out: &mut Out,
) {
    let mut others: BTreeMap<&str, Vec<&Member<'_>>> = BTreeMap::new();
    for member in members.others {
        for key in member.services.keys() {
            others.entry(key).or_default().push(member);
        }
    }
    let mut former = std::mem::take(&mut remembered.0);
    for served in all {
        let stamp = members.pods.stamp(&served.behind);
        let known = former.remove(&served.cluster);
        let others = others.get(served.behind.as_str());
        let same = |known: &Known| known.stamp == stamp && known.served == *served;
        let resource = match known {
            Some(known) if others.is_none() && same(&known) => known.resource,
            _ => served.resource(world, members, others.map_or(&[], Vec::as_slice)),
        };
        let name = served.cluster.clone();
        out.resources
            .put(type_urls::ENDPOINTS, name.clone(), resource.clone());
        // What is no pod has no stamp.
        if others.is_none() {
            let known = Known {
                served: served.clone(),
                stamp,
                resource,
            };
            remembered.0.insert(name, known);
        }
    }
}

impl Served {
    fn resource(
        &self,
        world: &World<'_>,
        members: &Members<'_, '_>,
        others: &[&Member<'_>],
    ) -> Resource {
        let wanted = |labels| {
            let subset = self.subset.as_ref();
            subset.is_none_or(|subset| selector::matches(subset, labels))
        };
        let pods = members.pods.behind(&self.behind).filter(|(name, _)| {
            // Labels are looked up only where they matter.
            self.subset.is_none()
                || wanted(
                    world
                        .pod(*name)
                        .and_then(|pod| pod.metadata.labels.as_ref()),
                )
        });
        let pods = pods.filter_map(|(_, pod)| self.endpoint((&pod.uid, 1), &pod.services));
        let others = others.iter().filter(|member| wanted(member.labels));
        let others = others.filter_map(|one| self.endpoint((&one.uid, one.weight), &one.services));
        let endpoints = pb::Endpoints {
            cluster: self.cluster.to_string(),
            endpoints: pods.chain(others).collect(),
            gateways: self.gateways.clone(),
        };
        Resource::new(&endpoints, Vec::new(), self.audience.clone())
    }

    fn endpoint(
        &self,
        (uid, weight): (&str, u32),
        services: &BTreeMap<String, Vec<(u16, u16)>>,
    ) -> Option<pb::Endpoint> {
        let ports = services.get(&self.behind)?;
        let (_, target) = ports.iter().find(|(number, _)| *number == self.port)?;
        Some(pb::Endpoint {
            workload_uid: uid.to_owned(),
            target_port: (*target).into(),
            weight,
        })
    }
}
