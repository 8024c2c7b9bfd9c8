//! Generated objects of gateways that are gone, also those of a former run.

use super::{deployment, is_generated, scaling};
use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::out::Out;
use crate::selector::label;
use crate::world::{Name, World};
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Plans their removal. What Kubernetes would remove by itself, because the Gateway owned it, goes too.
pub(super) fn withdraw(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    let lives = |namespace: &str,
                 meta: &ObjectMeta,
                 is_its: fn(&GatewayFact<'_>, &str) -> bool,
                 name: &str| {
        label(meta.labels.as_ref(), labels::GATEWAY_NAME)
            .and_then(|gateway| gateways.get(&(namespace, gateway)))
            .is_some_and(|g| g.is_ours() && is_its(g, name))
    };
    let own_pods = world.config.waypoints == WaypointForm::Pods;
    for ((namespace, name), pod) in world.pods().filter(|_| own_pods) {
        let meta = &pod.metadata;
        if is_generated(meta) && !lives(namespace, meta, |_, _| true, name) {
            out.wanted
                .absent(ObjectKey::new(Kind::Pod, namespace, name));
        }
    }
    for ((namespace, name), service) in &world.services {
        let meta = &service.metadata;
        // A gateway of another class has another name for it.
        let wanted = lives(namespace, meta, |g, name| g.generated == name, name);
        if !is_generated(meta) || wanted {
            continue;
        }
        let mut kinds = vec![Kind::Service, Kind::ServiceAccount];
        if !own_pods {
            kinds.extend([
                deployment::kind(),
                scaling::autoscaler_kind(),
                scaling::budget_kind(),
            ]);
        }
        for kind in kinds {
            out.wanted.absent(ObjectKey::new(kind, namespace, name));
        }
    }
}
