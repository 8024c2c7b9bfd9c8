//! The `Accepted` condition of GatewayClasses that name our controller.
//! In: the classes there are. Out: statuses that differ. Only the leader of the default revision writes; where the kind is not
//! installed, nothing is done until it is.
//! Source: Gateway API v1, GatewayClass.

use super::MANAGER;
use crate::times::now;
use ambit_crds::CONTROLLER_NAME;
use ambit_index::classes;
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const API_VERSION: &str = "gateway.networking.k8s.io/v1";
/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// A request must be answered after this.
const DEADLINE: Duration = Duration::from_secs(15);

/// Keeps the statuses.
pub(crate) struct Classes {
    pub(crate) client: Client,
    pub(crate) leads: watch::Receiver<bool>,
    /// Whether objects that name no revision, as classes do, are ours to write about.
    pub(crate) holds_default: watch::Receiver<bool>,
}

impl Classes {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        loop {
            let holds_default = *self.holds_default.borrow_and_update();
            if *self.leads.borrow_and_update() && holds_default {
                match timeout(DEADLINE, self.look()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) if is_missing(&error) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error = %causes(&error), "statuses of GatewayClasses are not kept");
                    }
                    Err(_) => tracing::warn!("statuses of GatewayClasses: no answer in time"),
                }
            }
            tokio::select! {
                _ = drain.signalled() => return,
                Ok(()) = self.leads.changed() => {}
                Ok(()) = self.holds_default.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), kube::Error> {
        let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "gatewayclasses");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let params = PatchParams::apply(MANAGER).force();
        for class in api.list(&ListParams::default()).await? {
            let name = class.metadata.name.unwrap_or_default();
            let generation = class.metadata.generation.unwrap_or_default();
            let Some(condition) = wanted(&name, generation, &class.data) else {
                continue;
            };
            let object = json!({
                "apiVersion": API_VERSION,
                "kind": "GatewayClass",
                "metadata": {"name": name},
                "status": {"conditions": [condition]},
            });
            match api
                .patch_status(&name, &params, &Patch::Apply(&object))
                .await
            {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => tracing::debug!(class = name, "status of a GatewayClass written"),
            }
        }
        Ok(())
    }
}

/// The kind is not installed, or the class went away meanwhile.
fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What `Accepted` must say of a class; `None` when it says so, or the class is somebody else's.
fn wanted(name: &str, generation: i64, class: &Value) -> Option<Value> {
    if class["spec"]["controllerName"] != CONTROLLER_NAME {
        return None;
    }
    let (status, reason, message) = if !classes().any(|of_ours| of_ours == name) {
        let all: Vec<&str> = classes().collect();
        let message = format!("Gateways are run of the classes {}", all.join(", "));
        ("False", "Unsupported", message)
    } else if class["spec"]["parametersRef"].is_object() {
        let message = "spec.parametersRef: of a class it is not read; \
                       label a ConfigMap gateway.istio.io/defaults-for-class";
        ("False", "InvalidParameters", message.to_owned())
    } else {
        (
            "True",
            "Accepted",
            "Gateways of this class are run".to_owned(),
        )
    };
    let mut condition = json!({
        "type": "Accepted",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    });
    let there = class["status"]["conditions"].as_array();
    let there = there.and_then(|list| list.iter().find(|c| c["type"] == "Accepted"));
    let same = |key: &str| there.is_some_and(|there| there[key] == condition[key]);
    if ["status", "reason", "message", "observedGeneration"]
        .into_iter()
        .all(same)
    {
        return None;
    }
    let since = there.filter(|_| same("status"));
    let since = since.and_then(|there| there["lastTransitionTime"].as_str());
    condition["lastTransitionTime"] = since.map_or_else(now, str::to_owned).into();
    Some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(controller: &str) -> Value {
        json!({
            "spec": {"controllerName": controller},
            "status": {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending",
                "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
        })
    }

    #[test]
    fn classes_of_ours_are_accepted_once() {
        let mut class = class(CONTROLLER_NAME);
        let first = wanted("istio", 1, &class).unwrap();
        assert_eq!(
            (&first["status"], &first["reason"]),
            (&"True".into(), &"Accepted".into())
        );
        assert_ne!(first["lastTransitionTime"], "1970-01-01T00:00:00Z");
        class["status"]["conditions"] = json!([first]);
        assert_eq!(wanted("istio", 1, &class), None);
        let again = wanted("istio", 2, &class).unwrap();
        assert_eq!(again["observedGeneration"], 2);
        assert_eq!(again["lastTransitionTime"], first["lastTransitionTime"]);
    }

    #[test]
    fn others_stay_and_what_is_not_run_says_so() {
        assert_eq!(wanted("istio", 1, &class("example.com/other")), None);
        let unknown = wanted("mine", 1, &class(CONTROLLER_NAME)).unwrap();
        assert_eq!(unknown["reason"], "Unsupported");
        let mut with = class(CONTROLLER_NAME);
        with["spec"]["parametersRef"] = json!({"kind": "ConfigMap", "name": "a"});
        let refused = wanted("ambit", 1, &with).unwrap();
        assert_eq!(
            (&refused["status"], &refused["reason"]),
            (&"False".into(), &"InvalidParameters".into())
        );
    }
}
