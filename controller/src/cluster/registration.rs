//! The webhook's registration: our roots in its `caBundle`, and refusals that count once the API server
//! was seen to ask us.
//! In: the ValidatingWebhookConfiguration as it is. Out: patches of it. Only the leader writes; what
//! others change comes back. Where there is none, nothing is made.
//! Source: Istio's `istio-validator`.

use super::MANAGER;
use crate::admission::{PROBE, PROBED};
use crate::config::of_revision;
use crate::signing::{Signer, current};
use ambit_api::labels;
use ambit_index::DEFAULT_REVISION;
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::{Address, Cause, Client, RequestError, Writer, read};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// A probe must be answered after this.
const DEADLINE: Duration = Duration::from_secs(15);

/// Keeps one registration.
pub(crate) struct Registration {
    pub(crate) client: Client,
    /// Namespace of the controller; part of the registration's name.
    pub(crate) namespace: String,
    /// Of the controller; part of the name, too, unless it is the default one.
    pub(crate) revision: String,
    pub(crate) signer: Signer,
    pub(crate) leads: watch::Receiver<bool>,
}

impl Registration {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        let mut answered = false;
        loop {
            if *self.leads.borrow_and_update()
                && let Err(error) = self.look(&mut answered).await
            {
                tracing::warn!(error = %causes(&error), "the webhook's registration is not kept");
            }
            tokio::select! {
                _ = drain.signalled() => return,
                Ok(()) = self.leads.changed() => {}
                Ok(()) = self.signer.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, answered: &mut bool) -> Result<(), RequestError> {
        let address = Address::new(
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
        )
        .named(&format!(
            "{}-{}",
            of_revision("ambit-validator", &self.revision),
            self.namespace
        ));
        let Some(there) = read(&self.client, &address).await? else {
            return Ok(());
        };
        let bundle = STANDARD.encode(current(&self.signer).issuer.roots_pem());
        if !*answered && has_bundle(&there, &bundle) {
            *answered = self.is_asked().await;
            if *answered {
                tracing::info!("the API server asks the webhook: refusals count");
            }
        }
        let Some(patch) = patch(&there, &bundle, *answered) else {
            return Ok(());
        };
        let writer = Writer::new(self.client.clone(), MANAGER);
        match writer.merge(&address, &patch).await {
            // Changed meanwhile: the next look decides.
            Err(error) if error.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Whether an object that only we refuse is refused.
    async fn is_asked(&self) -> bool {
        let gvk = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "virtualservices");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let mut object = DynamicObject::new(PROBE, &resource)
            .within(&self.namespace)
            .data(json!({"spec": {"hosts": ["probe.invalid"]}}));
        if self.revision != DEFAULT_REVISION {
            // Those that name no revision are judged by the default one.
            let label = (labels::REVISION.to_owned(), self.revision.clone());
            object.metadata.labels = Some([label].into());
        }
        let params = PostParams {
            dry_run: true,
            field_manager: Some(MANAGER.to_owned()),
        };
        let cause = match timeout(DEADLINE, api.create(&params, &object)).await {
            Err(_) => Cause::Deadline,
            Ok(Err(kube::Error::Api(status))) if status.message.contains(PROBED) => return true,
            Ok(Err(error)) => Cause::Api(error),
            Ok(Ok(_)) => return false,
        };
        tracing::debug!(error = %causes(&cause), "the webhook's probe was not answered by it");
        false
    }
}

fn has_bundle(registration: &Value, bundle: &str) -> bool {
    let of = |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str() == Some(bundle);
    webhooks(registration).iter().all(of)
}

fn webhooks(registration: &Value) -> Vec<Value> {
    let listed = registration.get("webhooks").and_then(Value::as_array);
    listed.cloned().unwrap_or_default()
}

/// What makes the registration as it should be; `None` when it is. A list is replaced whole, so the
/// patch names the version it was made for.
fn patch(registration: &Value, bundle: &str, answered: bool) -> Option<Value> {
    let before = webhooks(registration);
    let mut after = before.clone();
    for webhook in &mut after {
        if webhook["clientConfig"].is_object() {
            webhook["clientConfig"]["caBundle"] = bundle.into();
            if answered {
                webhook["failurePolicy"] = "Fail".into();
            }
        }
    }
    (after != before).then(|| {
        json!({
            "metadata": {"resourceVersion": registration["metadata"]["resourceVersion"]},
            "webhooks": after,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_come_first_and_refusals_count_once_we_were_asked() {
        let mut there = json!({"metadata": {"resourceVersion": "7"}, "webhooks": [
            {"name": "a", "clientConfig": {"service": {}}, "failurePolicy": "Ignore"}]});
        let first = patch(&there, "B", false).unwrap();
        assert_eq!(first["metadata"]["resourceVersion"], "7");
        assert_eq!(first["webhooks"][0]["clientConfig"]["caBundle"], "B");
        assert_eq!(first["webhooks"][0]["failurePolicy"], "Ignore");
        there["webhooks"] = first["webhooks"].clone();
        assert!(has_bundle(&there, "B") && !has_bundle(&there, "C"));
        assert_eq!(patch(&there, "B", false), None);
        let second = patch(&there, "B", true).unwrap();
        assert_eq!(second["webhooks"][0]["failurePolicy"], "Fail");
        assert_eq!(patch(&json!({}), "B", true), None);
    }
}
