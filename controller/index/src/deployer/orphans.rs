//! Generated objects of gateways that are gone, and of former names and accounts, also those of a former run.
//! What still serves under a former name stays until a pod of the new one is ready; an account until no pod has it.

use super::{leave_accounts, named_kinds};
use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::gateways::naming::{is_generated, is_live, runs_as, standing};
use crate::out::Out;
use crate::pods;
use crate::selector::label;
use crate::world::{Name, World};
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

type Gateways<'a> = BTreeMap<Name<'a>, GatewayFact<'a>>;

/// Plans their removal. What Kubernetes would remove by itself, because the Gateway owned it, goes too. Comes last: what
/// is wanted for any gateway stays.
pub(super) fn withdraw(world: &World<'_>, gateways: &Gateways<'_>, out: &mut Out) {
    for gateway in gateways.values().filter(|g| is_run(world, g)) {
        former_names(world, gateway, out);
        former_accounts(world, gateway, out);
    }
    let own_pods = world.config.waypoints == WaypointForm::Pods;
    for ((namespace, name), pod) in world.pods().filter(|_| own_pods) {
        if is_generated(&pod.metadata) && !has_gateway(gateways, namespace, &pod.metadata) {
            out.wanted
                .forget(ObjectKey::new(Kind::Pod, namespace, name));
        }
    }
    for ((namespace, name), service) in &world.services {
        let meta = &service.metadata;
        if !is_generated(meta) || has_gateway(gateways, namespace, meta) {
            continue;
        }
        for kind in named_kinds(world).into_iter().chain([Kind::ServiceAccount]) {
            out.wanted.forget(ObjectKey::new(kind, namespace, name));
        }
    }
}

/// Whether its objects are ours to make and to remove now.
fn is_run(world: &World<'_>, gateway: &GatewayFact<'_>) -> bool {
    gateway.is_ours() && gateway.fault.is_none() && world.runs(&gateway.object.metadata)
}

/// Whether the gateway of a generated object is one that we run or leave alone.
fn has_gateway(gateways: &Gateways<'_>, namespace: &str, meta: &ObjectMeta) -> bool {
    label(meta.labels.as_ref(), labels::GATEWAY_NAME)
        .and_then(|gateway| gateways.get(&(namespace, gateway)))
        .is_some_and(|g| g.is_ours() || g.is_taken())
}

fn former_names(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    let pods = || world.gateway_pods(gateway.name).filter(|pod| is_live(pod));
    let is_new = |pod: &_| runs_as(pod) == Some(&*gateway.generated);
    let has_begun = pods().any(|pod| is_new(pod) && pods::ready(pod));
    let names = standing(world, gateway.name).into_iter();
    for name in names.filter(|name| *name != gateway.generated) {
        let serves = !has_begun && pods().any(|pod| runs_as(pod) == Some(&*name));
        for kind in named_kinds(world) {
            let key = ObjectKey::new(kind, gateway.name.0, &name);
            match serves {
                true => out.wanted.spare(key),
                false => out.wanted.forget(key),
            }
        }
    }
}

fn former_accounts(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    leave_accounts(world, gateway, out);
    for (name, account) in world.accounts_of(gateway.name.0) {
        let meta = &account.metadata;
        let of = label(meta.labels.as_ref(), labels::GATEWAY_NAME);
        if is_generated(meta) && of == Some(gateway.name.1) {
            let key = ObjectKey::new(Kind::ServiceAccount, gateway.name.0, name);
            out.wanted.forget(key);
        }
    }
}
