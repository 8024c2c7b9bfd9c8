//! `IstioCertificateService`: token → caller → identity → signed chain.
//! A refused caller learns nothing but that it was refused; the log and the metrics have the reason.
//! Spec: `istio.v1.auth`; `ImpersonatedIdentity` in the request's metadata.

use super::Authority;
use super::xds::bearer;
use crate::facts::SharedFacts;
use crate::metrics::authority::AuthorityMetrics;
use crate::signing::current;
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_ca::csr;
use ambit_identity::rpc::istio_certificate_service_server::IstioCertificateService;
use ambit_model::SpiffeId;
use ambit_runtime::causes::causes;
use prost_types::value::Kind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tonic::{Request, Response, Status};

/// Key of the identity a node proxy asks for on behalf of a pod.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CaService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
    pub(crate) metrics: AuthorityMetrics,
}

#[tonic::async_trait]
impl IstioCertificateService for CaService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.csrs.inc();
        let now = SystemTime::now();
        let peer = request.remote_addr();
        let refused = |reason: &'static str, error: String| {
            self.metrics.refused(reason);
            tracing::warn!(src.addr = ?peer, reason, error, "certificate refused");
            Status::unauthenticated("request authenticate failure")
        };
        let header = bearer(request.metadata());
        let caller = self.authority.tokens.caller(header, now).await;
        let caller = caller.map_err(|error| refused("token", causes(&error)))?;
        let message = request.into_inner();
        let asked = impersonated(&message).map_err(|error| refused("identity", error))?;
        let facts = self.facts.load();
        let id = self
            .authority
            .rules
            .identity(&caller, asked.as_ref(), &facts.pods)
            .map_err(|denial| refused(denial.reason(), denial.to_string()))?;
        let key = csr::public_key(&message.csr).map_err(|error| {
            self.metrics.refused("csr");
            tracing::warn!(src.addr = ?peer, identity = %id, error = %causes(&error), "request not signed");
            Status::invalid_argument("the certificate request cannot be signed")
        })?;
        let asked = Duration::from_secs(u64::try_from(message.validity_duration).unwrap_or(0));
        let signed = current(&self.authority.signer)
            .authority
            .sign(&id, &key, asked, now)
            .map_err(|error| {
                self.metrics.refused("sign");
                tracing::error!(identity = %id, error = %causes(&error), "certificate not signed");
                Status::internal("the certificate cannot be signed")
            })?;
        self.metrics.issued.inc();
        tracing::debug!(identity = %id, caller = %caller.service_account, "certificate signed");
        Ok(Response::new(IstioCertificateResponse {
            cert_chain: signed.chain,
        }))
    }
}

/// The identity asked for, if one is named.
fn impersonated(message: &IstioCertificateRequest) -> Result<Option<SpiffeId>, String> {
    let value = message
        .metadata
        .as_ref()
        .and_then(|m| m.fields.get(IMPERSONATED))
        .and_then(|v| v.kind.as_ref());
    match value {
        None | Some(Kind::NullValue(_)) => Ok(None),
        Some(Kind::StringValue(text)) if text.is_empty() => Ok(None),
        Some(Kind::StringValue(text)) => text.parse().map(Some).map_err(|error| causes(&error)),
        Some(_) => Err(format!("{IMPERSONATED} is not a string")),
    }
}
