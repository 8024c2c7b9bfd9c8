//! `IstioCertificateService`: token → caller → message → identity → signed chain.
//! A refused caller learns nothing but that it was refused; the log and the metrics have the reason. Only
//! who has shown a token is read at all, so a request that cannot be read is logged with its caller.
//! Spec: `istio.v1.auth`; `ImpersonatedIdentity` and `CertSigner` in the request's metadata.

mod message;
mod rpc;

use super::Authority;
use super::xds::bearer;
use crate::external::{ExternalError, Wish};
use crate::facts::SharedFacts;
use crate::metrics::authority::AuthorityMetrics;
use crate::signing::{IssueError, current};
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_ca::caller::Caller;
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
/// Key of the signer it asks for, of those that an authority outside has.
const SIGNER: &str = "CertSigner";
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
        let signer = text(&message, SIGNER).map_err(|error| self.refused(peer, "signer", error))?;
        let id = self
            .authority
            .rules
            .identity(&caller, asked.as_ref(), &self.facts.load().pods)
            .map_err(|denial| self.refused(peer, denial.reason(), denial.to_string()))?;
        let wish = Wish {
            id: &id,
            csr: &message.csr,
            signer,
            lifetime: Duration::from_secs(u64::try_from(message.validity_duration).unwrap_or(0)),
        };
        let signing = current(&self.authority.signer);
        let signed = signing.issuer.sign(&wish, SystemTime::now()).await;
        let signed = signed.map_err(|error| self.unsigned(peer, &id, &error))?;
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

    /// Somebody who may have it, and for whom there is none.
    fn unsigned(&self, peer: Option<SocketAddr>, id: &SpiffeId, error: &IssueError) -> Status {
        let text = causes(error);
        match error {
            IssueError::Csr(_) | IssueError::External(ExternalError::Csr(_)) => {
                self.metrics.refused("csr");
                tracing::warn!(src.addr = ?peer, identity = %id, error = text, "request not signed");
            }
            IssueError::Sign(_) | IssueError::External(_) => {
                self.metrics.refused("sign");
                tracing::error!(identity = %id, error = text, "certificate not signed");
            }
        }
        match error {
            IssueError::Csr(_) => {
                Status::invalid_argument("the certificate request cannot be signed")
            }
            IssueError::Sign(_) => Status::internal("the certificate cannot be signed"),
            IssueError::External(error) => error.status(),
        }
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
    match text(message, IMPERSONATED)? {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error| causes(&error)),
    }
}

/// A text of the metadata; empty without one.
fn text<'a>(message: &'a IstioCertificateRequest, key: &str) -> Result<&'a str, String> {
    let fields = message.metadata.as_ref().map(|metadata| &metadata.fields);
    match fields.and_then(|fields| fields.get(key)?.kind.as_ref()) {
        None | Some(Kind::NullValue(_)) => Ok(""),
        Some(Kind::StringValue(text)) => Ok(text),
        Some(_) => Err(format!("{key} is not a string")),
    }
}
