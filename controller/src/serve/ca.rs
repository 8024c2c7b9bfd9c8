//! `IstioCertificateService`: token → caller → message → identity → signed chain.
//! A refused caller learns nothing but that it was refused; the log and the metrics have the reason. Only
//! who has shown a token is read at all, so a request that cannot be read is logged with its caller.
//! Spec: `istio.v1.auth`; `ImpersonatedIdentity` in the request's metadata.

mod message;
mod rpc;

use super::Authority;
use super::xds::bearer;
use crate::facts::SharedFacts;
use crate::metrics::authority::AuthorityMetrics;
use crate::signing::current;
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_ca::caller::Caller;
use ambit_ca::csr;
use ambit_model::SpiffeId;
use ambit_runtime::causes::causes;
use message::Unread;
use prost_types::value::Kind;
pub(crate) use rpc::CaServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tonic::{Request, Response, Status, Streaming};

/// Key of the identity a node proxy asks for on behalf of a pod.
const IMPERSONATED: &str = "ImpersonatedIdentity";
/// The whole message must be there after this.
const READ: Duration = Duration::from_secs(10);

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CaService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
    pub(crate) metrics: AuthorityMetrics,
}

impl CaService {
    async fn create_certificate(
        &self,
        request: Request<Streaming<IstioCertificateRequest>>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.csrs.inc();
        let peer = request.remote_addr();
        let header = bearer(request.metadata());
        let caller = self
            .authority
            .tokens
            .caller(header, SystemTime::now())
            .await;
        let caller = caller.map_err(|error| self.refused(peer, "token", causes(&error)))?;
        let message = message::only(request.into_inner(), READ).await;
        let message = message.map_err(|error| self.unread(peer, &caller, &error))?;
        let asked =
            impersonated(&message).map_err(|error| self.refused(peer, "identity", error))?;
        let facts = self.facts.load();
        let id = self
            .authority
            .rules
            .identity(&caller, asked.as_ref(), &facts.pods)
            .map_err(|denial| self.refused(peer, denial.reason(), denial.to_string()))?;
        let key = csr::public_key(&message.csr).map_err(|error| {
            self.metrics.refused("csr");
            tracing::warn!(src.addr = ?peer, identity = %id, error = %causes(&error), "request not signed");
            Status::invalid_argument("the certificate request cannot be signed")
        })?;
        let asked = Duration::from_secs(u64::try_from(message.validity_duration).unwrap_or(0));
        let signed = current(&self.authority.signer)
            .authority
            .sign(&id, &key, asked, SystemTime::now())
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

    /// Somebody who may not have what it asks for.
    fn refused(&self, peer: Option<SocketAddr>, reason: &'static str, error: String) -> Status {
        self.metrics.refused(reason);
        tracing::warn!(src.addr = ?peer, reason, error, "certificate refused");
        Status::unauthenticated("request authenticate failure")
    }

    /// A caller whose request is none.
    fn unread(&self, peer: Option<SocketAddr>, caller: &Caller, error: &Unread) -> Status {
        let (reason, status) = match error {
            Unread::Malformed(_) | Unread::Missing | Unread::Second => (
                "malformed",
                Status::invalid_argument("the message cannot be read"),
            ),
            Unread::Late(_) => (
                "late",
                Status::deadline_exceeded("the message takes too long"),
            ),
            Unread::Gone(status) => {
                tracing::debug!(src.addr = ?peer, %caller, error = %causes(error), "certificate not asked for");
                return status.clone();
            }
        };
        self.metrics.refused(reason);
        tracing::warn!(src.addr = ?peer, %caller, reason, error = %causes(error), "certificate refused");
        status
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
