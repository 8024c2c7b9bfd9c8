//! Who signs: the seam between the store and a certificate authority.
//! In: an identity. Out: an [`Svid`] made of a fresh key and the authority's reply.
//! Implemented by [`crate::CaClient`] (gRPC) and [`crate::InProcessCa`].

use crate::csr::{self, CsrError};
use crate::grpc_tls::{GrpcTlsError, TokenError};
use crate::svid::{Svid, SvidError};
use ambit_model::ids::SpiffeId;
use futures::future::BoxFuture;
use std::time::Duration;
use thiserror::Error;

/// What an authority is asked to sign.
#[derive(Clone, Debug)]
pub struct SignRequest {
    /// For whom (`ImpersonatedIdentity` when it is not the caller itself).
    pub id: SpiffeId,
    /// Certificate signing request, PEM.
    pub csr_pem: String,
    /// Wanted lifetime; the authority may shorten it.
    pub validity: Duration,
}

/// A certificate authority.
pub trait Authority: Send + Sync + 'static {
    /// Signs. The reply is as `istio.v1.auth.IstioCertificateResponse.cert_chain`: PEM, leaf
    /// first, roots last. Implementations have a deadline of their own.
    fn sign(&self, request: SignRequest) -> BoxFuture<'_, Result<Vec<String>, CaError>>;

    /// The roots that the authority publishes, PEM, first the one that signs, where they may change: the
    /// file by which it is verified itself. `None`: nothing is known.
    fn trust(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }

    /// The lists of revoked certificates that the authority publishes, PEM; empty: there are none. `None`:
    /// nothing is known.
    fn revocations(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CaError {
    /// No key or request could be made.
    #[error("no signing request for the identity")]
    Csr(#[source] CsrError),
    /// There is no token to send.
    #[error("no token for the authority")]
    Token(#[source] TokenError),
    /// An extra header cannot be sent.
    #[error("`{name}` is not a valid header")]
    Header {
        /// Its name.
        name: String,
    },
    /// The connection to the authority cannot be set up.
    #[error("no connection to the authority {address}")]
    Connect {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: GrpcTlsError,
    },
    /// The authority answered with an error.
    #[error("the authority refused ({code})")]
    Refused {
        /// gRPC status code.
        code: tonic::Code,
        /// gRPC status.
        #[source]
        source: Box<tonic::Status>,
    },
    /// No answer in time.
    #[error("no answer from the authority within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The reply cannot be used.
    #[error("the authority's reply is unusable")]
    Reply(#[source] SvidError),
    /// An authority inside the process failed.
    #[error("signing failed")]
    Signing(#[source] rcgen::Error),
}

/// Makes a key, has it signed and checks the reply.
///
/// # Errors
/// [`CaError`].
pub async fn obtain(
    authority: &dyn Authority,
    id: &SpiffeId,
    validity: Duration,
) -> Result<Svid, CaError> {
    let made = csr::request(id).map_err(CaError::Csr)?;
    let request = SignRequest {
        id: id.clone(),
        csr_pem: made.csr_pem,
        validity,
    };
    let reply = authority.sign(request).await?;
    Svid::from_reply(id, made.key, &reply).map_err(CaError::Reply)
}
