//! The mesh's root certificates as a ClusterTrustBundle, for pods that mount one: where it is asked for and the cluster
//! has the kind.
//! In: what is published. Out: one object. Only the leader writes; what others change comes back.
//! Source: certificates.k8s.io ClusterTrustBundle; Istio's `ENABLE_CLUSTER_TRUST_BUNDLE_API`.

use super::MANAGER;
use crate::signing::{Signer, current};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::{Client, Outcome, RequestError, Writer};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// As Istio's controller calls it.
const NAME: &str = "istio.io:istiod-ca:root-cert";
/// Who the roots are of; a part of the name by the API's own rule.
const SIGNER: &str = "istio.io/istiod-ca";
/// Versions of the kind, best first.
const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
/// How often it is written again: what somebody has changed or deleted is back by then.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the object.
pub(crate) struct TrustBundle {
    pub(crate) client: Client,
    pub(crate) signer: Signer,
    pub(crate) leads: watch::Receiver<bool>,
}

impl TrustBundle {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        let mut said = false;
        loop {
            if *self.leads.borrow_and_update() {
                match self.write().await {
                    Ok(true) => said = false,
                    Ok(false) if said => {}
                    Ok(false) => {
                        said = true;
                        tracing::warn!(
                            "the cluster has no ClusterTrustBundles: the roots are in ConfigMaps only"
                        );
                    }
                    Err(error) => {
                        tracing::warn!(error = %causes(&error), "ClusterTrustBundle not written");
                    }
                }
            }
            tokio::select! {
                _ = drain.signalled() => return,
                Ok(()) = self.leads.changed() => {}
                Ok(()) = self.signer.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Whether there is such a kind.
    async fn write(&self) -> Result<bool, RequestError> {
        let signing = current(&self.signer);
        let writer = Writer::new(self.client.clone(), MANAGER);
        for version in VERSIONS {
            let object = document(version, signing.issuer.roots_pem());
            if writer.apply(&object).await? == Outcome::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn document(version: &str, roots: &str) -> Value {
    json!({
        "apiVersion": format!("certificates.k8s.io/{version}"),
        "kind": "ClusterTrustBundle",
        "metadata": {"name": NAME, "labels": {"istio.io/config": "true"}},
        "spec": {"signerName": SIGNER, "trustBundle": roots},
    })
}
