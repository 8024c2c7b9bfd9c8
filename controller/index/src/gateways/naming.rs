//! What the objects of each gateway of ours are called, and who it runs as.
//! In: Gateways and their annotations, their pods, generated Services. Out: names and identities, or why a name
//! cannot be: then those that there are.
//! Two Gateways never share a name: who has the Service has it, else the older one.
//! Source: Istio's gateway deployer.

use super::{generated_name, role};
use crate::age::Age;
use crate::pods;
use crate::selector::label;
use crate::world::{Name, World};
use ambit_api::labels;
use ambit_crds::Resource;
use ambit_crds::annotations::{
    Annotations, NAME_OVERRIDE, SERVICE_ACCOUNT, name_override, service_account,
};
use ambit_crds::gateway::{GatewaySpec, GatewayStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};

/// Value of the label that says who manages an object, on ingress gateways.
pub(crate) const MANAGED_GATEWAY: &str = "istio.io-gateway-controller";
/// Label of a Deployment's pods that ends the name of their ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Names of one gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Naming {
    /// Service, Deployment, autoscaler and budget; empty where there are none and none can be.
    pub(super) generated: String,
    /// Service account.
    pub(super) account: String,
    /// Why it cannot be called what it should be: everything stays as it is.
    pub(super) fault: Option<String>,
}

/// The names of every gateway of ours.
pub(super) fn derive<'a>(world: &World<'a>) -> BTreeMap<Name<'a>, Naming> {
    let mut all: BTreeMap<Name<'a>, Naming> = BTreeMap::new();
    let mut claims: BTreeMap<(&str, String), Vec<Name<'a>>> = BTreeMap::new();
    for (name, object) in &world.gateways {
        if role(object).is_none() {
            continue;
        }
        let naming = wanted(name.1, object).unwrap_or_else(|fault| remains(world, *name, fault));
        if naming.fault.is_none() {
            let claimed = claims.entry((name.0, naming.generated.clone()));
            claimed.or_default().push(*name);
        }
        all.insert(*name, naming);
    }
    for ((namespace, claimed), claimants) in claims {
        let Some(owner) = owner(world, (namespace, &claimed), &claimants) else {
            continue;
        };
        for loser in claimants.into_iter().filter(|name| name.1 != owner) {
            let fault = format!("the name {claimed} is that of Gateway {namespace}/{owner}");
            all.insert(loser, remains(world, loser, fault));
        }
    }
    all
}

/// What the Gateway asks for.
fn wanted(name: &str, object: &Resource<GatewaySpec, GatewayStatus>) -> Result<Naming, String> {
    let none = Annotations::new();
    let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
    let wrong = |name: &str| {
        let name = name.to_owned();
        move |why| format!("metadata.annotations.{name}: {why}")
    };
    let default = generated_name(name, &object.spec.gateway_class_name);
    let generated = name_override(annotations).map_err(wrong(NAME_OVERRIDE))?;
    let account = service_account(annotations).map_err(wrong(SERVICE_ACCOUNT))?;
    Ok(Naming {
        generated: generated.unwrap_or(&default).to_owned(),
        account: account.unwrap_or(&default).to_owned(),
        fault: None,
    })
}

/// The names that there are.
fn remains(world: &World<'_>, gateway: Name<'_>, fault: String) -> Naming {
    let pods = || world.gateway_pods(gateway).filter(|pod| is_live(pod));
    let account = pods().find_map(|pod| pod.spec.as_ref());
    Naming {
        generated: standing(world, gateway).pop_first().unwrap_or_default(),
        account: account.map_or_else(String::new, |spec| pods::account(spec).to_owned()),
        fault: Some(fault),
    }
}

/// Which Gateway of the namespace has a name; it may be none of those who claim it.
fn owner(world: &World<'_>, service: (&str, &str), claimants: &[Name<'_>]) -> Option<String> {
    let holder = world.services.get(&service);
    let holder = holder.filter(|object| is_generated(&object.metadata));
    let holder = holder.and_then(|o| label(o.metadata.labels.as_ref(), labels::GATEWAY_NAME));
    if let Some(holder) = holder
        && world.gateways.contains_key(&(service.0, holder))
    {
        return Some(holder.to_owned());
    }
    let age = |name: &&Name<'_>| world.gateways.get(*name).map(|o| Age::of(&o.metadata));
    let oldest = claimants.iter().min_by_key(age);
    oldest.map(|(_, name)| (*name).to_owned())
}

/// Names under which something runs or stands for a gateway.
pub(crate) fn standing(world: &World<'_>, gateway: Name<'_>) -> BTreeSet<String> {
    let services = world.services.iter().filter(|((namespace, _), object)| {
        let of = label(object.metadata.labels.as_ref(), labels::GATEWAY_NAME);
        *namespace == gateway.0 && of == Some(gateway.1) && is_generated(&object.metadata)
    });
    let services = services.map(|((_, name), _)| (*name).to_owned());
    let pods = world.gateway_pods(gateway).filter(|pod| is_live(pod));
    let pods = pods.filter_map(|pod| runs_as(pod).map(str::to_owned));
    services.chain(pods).collect()
}

/// The name under which a pod of a gateway runs: that of its Deployment.
pub(crate) fn runs_as(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref();
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let set = owners.find(|o| o.controller == Some(true) && o.kind == "ReplicaSet");
    let deployment = set.and_then(|set| {
        let hash = label(labels, TEMPLATE_HASH)?;
        set.name.strip_suffix(hash)?.strip_suffix('-')
    });
    deployment.or_else(|| label(labels, labels::CANONICAL_NAME))
}

/// Whether a pod was generated and has not ended.
pub(crate) fn is_live(pod: &Pod) -> bool {
    is_generated(&pod.metadata) && !pods::ended(pod)
}

/// Whether an object was generated for a gateway.
pub(crate) fn is_generated(meta: &ObjectMeta) -> bool {
    let manager = label(meta.labels.as_ref(), labels::MANAGED);
    matches!(manager, Some(labels::MANAGED_WAYPOINT | MANAGED_GATEWAY))
}

/// Service accounts `<namespace>/<name>` of a gateway: the one it is to have, and those of its pods, which
/// are served until they are gone.
pub(super) fn accounts(world: &World<'_>, gateway: Name<'_>, naming: &Naming) -> BTreeSet<String> {
    let pods = world.gateway_pods(gateway).filter(|pod| is_live(pod));
    let of_pods = pods.filter_map(|pod| pod.spec.as_ref()).map(pods::account);
    let wanted = Some(naming.account.as_str()).filter(|account| !account.is_empty());
    let all = of_pods.chain(wanted);
    all.map(|account| format!("{}/{account}", gateway.0))
        .collect()
}
