//! The life of one CertificateSigningRequest: made, approved, watched, deleted.
//! In: what is asked, whether whoever asked still waits. Out: what the signer wrote. Whatever the end, the object goes.
//! Must not happen here: a wait without a deadline; an approval of something that has changed since it was made.
//! Spec: Kubernetes `certificates.k8s.io/v1`; names and usages as Istio's controller writes them.

use super::ExternalError;
use super::queue::Ask;
use ambit_ca::external::outcome::{self, Condition, Outcome};
use ambit_runtime::causes::causes;
use ambit_source::kubernetes::Client;
use futures::{StreamExt, pin_mut};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use kube::Api;
use kube::api::{
    DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A signer has this long, as Istio's controller gives it.
const SIGNED: Duration = Duration::from_secs(60);
/// Every other answer of the API server must be there after this.
const ANSWER: Duration = Duration::from_secs(15);
/// Pause after a watch that broke.
const PAUSE: Duration = Duration::from_millis(500);
/// Tries of an approval that somebody else's change comes before.
const TRIES: usize = 4;
/// Label of every object, and its value.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "ambit-controller";
/// Begin of the name of every object.
const NAME: &str = "csr-workload-";
/// Reason of our approvals.
const APPROVED: &str = "IdentityPermitted";

/// One request.
pub(super) struct Request {
    pub(super) client: Client,
    pub(super) approve: bool,
    pub(super) ask: Ask,
}

impl Request {
    /// Has it signed, unless `gone` comes first: whoever asked does not wait any more.
    pub(super) async fn run(
        self,
        gone: impl Future<Output = ()>,
    ) -> Result<Vec<u8>, ExternalError> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        // Not given up half-way: without an answer nobody knows the name of what was made.
        let (params, object) = (PostParams::default(), self.object());
        let made = self.answer("make", api.create(&params, &object)).await?;
        let name = made.metadata.name.clone().unwrap_or_default();
        let done = tokio::select! {
            () = gone => Err(ExternalError::Gone { signer: self.signer() }),
            done = self.signed(&api, made) => done,
        };
        let params = DeleteParams::default();
        let deleted = api.delete(&name, &params);
        if let Err(error) = self.answer("delete", deleted).await
            && !is_code(&error, 404)
        {
            tracing::warn!(name, error = %causes(&error), "a request for a certificate stays");
        }
        done
    }

    async fn signed(
        &self,
        api: &Api<CertificateSigningRequest>,
        made: CertificateSigningRequest,
    ) -> Result<Vec<u8>, ExternalError> {
        let mut approved = false;
        let work = async {
            let made = match self.approve {
                true => self.approved(api, made).await?,
                false => made,
            };
            self.watched(api, made, &mut approved).await
        };
        let done = timeout(SIGNED, work).await;
        done.unwrap_or_else(|_| {
            let state = match approved {
                true => "approved",
                false => "not approved",
            };
            Err(ExternalError::Late {
                signer: self.signer(),
                within: SIGNED,
                state,
            })
        })
    }

    /// Approves it as it is now. What somebody has denied meanwhile stays denied.
    async fn approved(
        &self,
        api: &Api<CertificateSigningRequest>,
        mut seen: CertificateSigningRequest,
    ) -> Result<CertificateSigningRequest, ExternalError> {
        let name = seen.metadata.name.clone().unwrap_or_default();
        let mut tries = TRIES;
        while outcome_of(&seen) == (Outcome::Waiting { approved: false }) {
            tries -= 1;
            let patch = self.approval(&seen);
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let done = api.patch_approval(&name, &params, &patch);
            match self.answer("approve", done).await {
                Ok(approved) => return Ok(approved),
                Err(error) if tries > 0 && is_code(&error, 409) => {
                    seen = self.answer("read", api.get(&name)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    }

    /// Follows it from `seen` until there is an outcome.
    async fn watched(
        &self,
        api: &Api<CertificateSigningRequest>,
        mut seen: CertificateSigningRequest,
        approved: &mut bool,
    ) -> Result<Vec<u8>, ExternalError> {
        let name = seen.metadata.name.clone().unwrap_or_default();
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        loop {
            if let Some(done) = self.judged(&seen, approved) {
                return done;
            }
            let version = seen.metadata.resource_version.clone().unwrap_or_default();
            let events = self.answer("watch", api.watch(&params, &version)).await?;
            pin_mut!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(WatchEvent::Added(now) | WatchEvent::Modified(now)) => {
                        if let Some(done) = self.judged(&now, approved) {
                            return done;
                        }
                    }
                    Ok(WatchEvent::Deleted(_)) => return Err(self.removed()),
                    Ok(WatchEvent::Bookmark(_)) => {}
                    Ok(WatchEvent::Error(_)) | Err(_) => break,
                }
            }
            sleep(PAUSE).await;
            seen = match self.answer("read", api.get_opt(&name)).await? {
                Some(now) => now,
                None => return Err(self.removed()),
            };
        }
    }

    fn judged(
        &self,
        seen: &CertificateSigningRequest,
        approved: &mut bool,
    ) -> Option<Result<Vec<u8>, ExternalError>> {
        match outcome_of(seen) {
            Outcome::Waiting { approved: now } => {
                *approved = now;
                None
            }
            Outcome::Signed(pem) => Some(Ok(pem)),
            Outcome::Refused(source) => Some(Err(ExternalError::Refused {
                signer: self.signer(),
                source,
            })),
        }
    }

    fn object(&self) -> CertificateSigningRequest {
        let ask = &self.ask;
        let label = (MANAGED_BY.to_owned(), MANAGER.to_owned());
        CertificateSigningRequest {
            metadata: ObjectMeta {
                generate_name: Some(NAME.to_owned()),
                labels: Some([label].into()),
                ..ObjectMeta::default()
            },
            spec: CertificateSigningRequestSpec {
                request: ByteString(ask.csr.clone().into_bytes()),
                signer_name: ask.signer.clone(),
                usages: Some(ask.usages.names()),
                expiration_seconds: Some(i32::try_from(ask.lifetime.as_secs()).unwrap_or(i32::MAX)),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        }
    }

    /// Only of this version: what somebody changes meanwhile is looked at again.
    fn approval(&self, seen: &CertificateSigningRequest) -> serde_json::Value {
        json!({
            "metadata": {"resourceVersion": seen.metadata.resource_version},
            "status": {"conditions": [{
                "type": "Approved",
                "status": "True",
                "reason": APPROVED,
                "message": format!("the mesh gives {} to whoever has this key", self.ask.whose),
            }]},
        })
    }

    fn signer(&self) -> String {
        self.ask.signer.clone()
    }

    fn removed(&self) -> ExternalError {
        ExternalError::Removed {
            signer: self.signer(),
        }
    }

    /// One answer of the API server, in time.
    async fn answer<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ExternalError> {
        let late = || kube::Error::Service("no answer in time".into());
        let answer = timeout(ANSWER, request)
            .await
            .unwrap_or_else(|_| Err(late()));
        answer.map_err(|source| ExternalError::Api {
            verb,
            signer: self.signer(),
            source: Box::new(source),
        })
    }
}

fn is_code(error: &ExternalError, code: u16) -> bool {
    let ExternalError::Api { source, .. } = error else {
        return false;
    };
    matches!(&**source, kube::Error::Api(status) if status.code == code)
}

fn outcome_of(seen: &CertificateSigningRequest) -> Outcome {
    let Some(status) = &seen.status else {
        return outcome::of([], None);
    };
    let conditions = status.conditions.iter().flatten().map(|c| Condition {
        kind: &c.type_,
        status: &c.status,
        reason: c.reason.as_deref().unwrap_or_default(),
        message: c.message.as_deref().unwrap_or_default(),
    });
    outcome::of(conditions, status.certificate.as_ref().map(|c| &c.0[..]))
}
