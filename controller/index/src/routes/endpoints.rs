//! Who serves each cluster.
//! In: the clusters, the pods behind each service, and what else is. Out: one Endpoints resource each. One
//! behind whose services no pod changed is what it was. Where several services share a cluster, as a waypoint and its
//! canary do, weights give each service its part whatever its number of ready pods.

use crate::out::Out;
use crate::pods;
use crate::resource::{Audience, Resource};
use crate::selector;
use crate::workloads::{Member, Members};
use crate::world::World;
use ambit_api::{ports, route as pb, type_urls};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the endpoints of a cluster are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(super) cluster: Arc<str>,
    /// What they are behind.
    pub(super) behind: Vec<Behind>,
    /// Port of that service; `None`: that of tunnels, of a waypoint.
    pub(super) port: Option<u16>,
    /// Labels that they have.
    pub(super) subset: Option<BTreeMap<String, String>>,
    /// Gateways `<namespace>/<name>`.
    pub(super) gateways: Vec<String>,
    pub(super) audience: Audience,
}

/// A service whose pods are endpoints of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behind {
    /// Its key.
    pub(super) service: String,
    /// Its part of what the cluster takes.
    pub(super) percent: u32,
}

impl Behind {
    /// The only one.
    pub(super) fn whole(service: String) -> Self {
        let percent = 100;
        Self { service, percent }
    }
}

/// Endpoints of the last derivation, by cluster.
#[derive(Debug, Default)]
pub(crate) struct Remembered(HashMap<Arc<str>, Known>);

#[derive(Debug)]
struct Known {
    served: Served,
    stamps: Vec<u64>,
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
        let services = || served.behind.iter().map(|behind| behind.service.as_str());
        let stamps: Vec<u64> = services().map(|key| members.pods.stamp(key)).collect();
        let known = former.remove(&served.cluster);
        let is_other = services().any(|key| others.contains_key(key));
        let same = |known: &Known| known.stamps == stamps && known.served == *served;
        let resource = match known {
            Some(known) if !is_other && same(&known) => known.resource,
            _ => served.resource(world, members, &others),
        };
        let name = served.cluster.clone();
        out.resources
            .put(type_urls::ENDPOINTS, name.clone(), resource.clone());
        // What is no pod has no stamp.
        if !is_other {
            let known = Known {
                served: served.clone(),
                stamps,
                resource,
            };
            remembered.0.insert(name, known);
        }
    }
}

/// An endpoint, and whether it is ready.
type Found = (pb::Endpoint, bool);

impl Served {
    fn resource(
        &self,
        world: &World<'_>,
        members: &Members<'_, '_>,
        others: &BTreeMap<&str, Vec<&Member<'_>>>,
    ) -> Resource {
        let found: Vec<Vec<Found>> = self
            .behind
            .iter()
            .map(|behind| self.behind(world, members, (&behind.service, others)))
            .collect();
        let endpoints = pb::Endpoints {
            cluster: self.cluster.to_string(),
            endpoints: self.shared(found),
            gateways: self.gateways.clone(),
        };
        Resource::new(&endpoints, Vec::new(), self.audience.clone())
    }

    /// The endpoints behind one service.
    fn behind(
        &self,
        world: &World<'_>,
        members: &Members<'_, '_>,
        (service, others): (&str, &BTreeMap<&str, Vec<&Member<'_>>>),
    ) -> Vec<Found> {
        let wanted = |labels| {
            let subset = self.subset.as_ref();
            subset.is_none_or(|subset| selector::matches(subset, labels))
        };
        let several = self.behind.len() > 1;
        let pods = members.pods.behind(service).filter_map(|(name, pod)| {
            // The object is looked up only where it matters.
            let object = (several || self.subset.is_some()).then(|| world.pod(name));
            let object = object.flatten();
            if !wanted(object.and_then(|pod| pod.metadata.labels.as_ref())) {
                return None;
            }
            let endpoint = self.endpoint(service, (&pod.uid, 1), &pod.services)?;
            Some((endpoint, object.is_none_or(pods::ready)))
        });
        let others = others.get(service).map_or(&[][..], Vec::as_slice);
        let others = others.iter().filter(|member| wanted(member.labels));
        let others = others.filter_map(|one| {
            let endpoint = self.endpoint(service, (&one.uid, one.weight), &one.services)?;
            Some((endpoint, true))
        });
        pods.chain(others).collect()
    }

    /// The endpoints of all services. An endpoint's weight is its service's part times the ready endpoints of
    /// the others: so the sum for a service depends on its part alone.
    fn shared(&self, found: Vec<Vec<Found>>) -> Vec<pb::Endpoint> {
        let ready: Vec<u32> = found
            .iter()
            .map(|found| {
                let ready = found.iter().filter(|(_, ready)| *ready);
                let sum = ready.fold(0u32, |sum, (one, _)| sum.saturating_add(one.weight));
                sum.max(1)
            })
            .collect();
        let several = self.behind.len() > 1;
        let mut all = Vec::new();
        for (i, (found, behind)) in found.into_iter().zip(&self.behind).enumerate() {
            let others = ready.iter().enumerate().filter(|(j, _)| *j != i);
            let others = others.fold(1u32, |product, (_, ready)| product.saturating_mul(*ready));
            let factor = behind.percent.saturating_mul(others);
            all.extend(found.into_iter().map(|(mut endpoint, _)| {
                if several {
                    endpoint.weight = endpoint.weight.saturating_mul(factor);
                }
                endpoint
            }));
        }
        all
    }

    fn endpoint(
        &self,
        service: &str,
        (uid, weight): (&str, u32),
        services: &BTreeMap<String, Vec<(u16, u16)>>,
    ) -> Option<pb::Endpoint> {
        let ports = services.get(service)?;
        let target = match self.port {
            None => ports::HBONE,
            Some(port) => ports.iter().find(|(number, _)| *number == port)?.1,
        };
        Some(pb::Endpoint {
            workload_uid: uid.to_owned(),
            target_port: target.into(),
            weight,
        })
    }
}
