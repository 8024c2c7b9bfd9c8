//! DestinationRule → load balancer, timeout and subsets of clusters.
//! Looked up by the most specific host, first in the namespace of the waypoints that need the
//! cluster (when they share one), then in the service's, then in the root namespace; within one
//! namespace the oldest wins.
//! Source: istio/api networking/v1 DestinationRule.

use super::hosts;
use crate::out::Out;
use crate::services::ServiceFact;
use crate::statuses::{ACCEPTED, Condition};
use crate::world::{World, name_of};
use ambit_api::route as pb;
use ambit_crds::istio::{DestinationRuleSpec, SimpleLoadBalancer};
use ambit_crds::{Kind, ObjectKey, Resource};
use std::collections::{BTreeMap, BTreeSet};

/// The rule for a service as seen from waypoints of these namespaces.
pub(crate) fn find<'a>(
    world: &World<'a>,
    service: &ServiceFact<'_>,
    clients: &BTreeSet<&str>,
) -> Option<&'a Resource<DestinationRuleSpec>> {
    let mut places = Vec::with_capacity(3);
    // One cluster has one shape: waypoints of several namespaces cannot each have their own.
    if clients.len() == 1 {
        places.extend(clients.first().copied());
    }
    places.push(service.namespace);
    places.push(&world.config.root_namespace);
    places.into_iter().find_map(|place| {
        let mut best: Option<(usize, &'a Resource<DestinationRuleSpec>)> = None;
        for rule in &world.destination_rules {
            let (namespace, _) = name_of(&rule.metadata);
            let shown = clients
                .iter()
                .all(|client| hosts::visible(&rule.spec.export_to, namespace, client));
            if namespace != place || !shown {
                continue;
            }
            let host = hosts::full_name(world.config, &rule.spec.host, namespace);
            if let Some(fit) = hosts::fit(&host, &service.hostname)
                && best.is_none_or(|(former, _)| fit > former)
            {
                best = Some((fit, rule));
            }
        }
        best.map(|(_, rule)| rule)
    })
}

/// Whether any rule that could apply defines the subset.
pub(crate) fn has_subset(
    world: &World<'_>,
    service: &ServiceFact<'_>,
    client: &str,
    subset: &str,
) -> bool {
    find(world, service, &BTreeSet::from([client]))
        .is_some_and(|rule| rule.spec.subsets.iter().any(|s| s.name == subset))
}

/// Shapes a cluster.
pub(crate) fn apply(rule: Option<&Resource<DestinationRuleSpec>>, cluster: &mut pb::Cluster) {
    let Some(policy) = rule.and_then(|r| r.spec.traffic_policy.as_ref()) else {
        return;
    };
    let simple = policy.load_balancer.as_ref().and_then(|lb| lb.simple);
    let balancer = match simple {
        Some(SimpleLoadBalancer::RoundRobin) => pb::LoadBalancer::RoundRobin,
        Some(SimpleLoadBalancer::Random) => pb::LoadBalancer::Random,
        _ => pb::LoadBalancer::LeastRequest,
    };
    cluster.load_balancer = balancer.into();
    let tcp = policy.connection_pool.as_ref().and_then(|p| p.tcp.as_ref());
    if let Some(timeout) = tcp.and_then(|tcp| tcp.connect_timeout) {
        cluster.connect_timeout_ms = super::parts::millis(timeout);
    }
}

/// Tells each rule whether it is in use: of several for one host in one namespace the oldest is.
pub(crate) fn report(world: &World<'_>, out: &mut Out) {
    let mut first: BTreeMap<(String, String), String> = BTreeMap::new();
    for rule in &world.destination_rules {
        let (namespace, name) = name_of(&rule.metadata);
        let key = ObjectKey::new(Kind::DestinationRule, namespace, name);
        let host = hosts::full_name(world.config, &rule.spec.host, namespace);
        let place = (namespace.to_owned(), host);
        let condition = match first.get(&place) {
            None => {
                first.insert(place, name.to_owned());
                Condition::new(ACCEPTED, true, "Accepted", "in use")
            }
            Some(older) => Condition::rejected(
                "Conflicted",
                format!("spec.host: DestinationRule {older} is older and for the same host"),
            ),
        };
        out.statuses.condition(key, condition);
    }
}
