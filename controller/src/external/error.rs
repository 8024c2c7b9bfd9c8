//! Why an authority outside has given no certificate, and what its caller is told: everything, because only who may
//! have the certificate gets here.

use ambit_ca::csr::CsrError;
use ambit_ca::external::outcome::Refusal;
use ambit_ca::external::proof::ProofError;
use ambit_ca::external::signers::SignerError;
use ambit_runtime::causes::causes;
use std::time::Duration;
use thiserror::Error;
use tonic::Status;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(crate) enum ExternalError {
    /// The request asks for another signer than there can be.
    #[error("there is no signer to ask")]
    Signer(#[from] SignerError),
    /// The request is not one for the permitted identity alone.
    #[error("the certificate request is not passed on")]
    Csr(#[from] CsrError),
    /// Too many wait already.
    #[error("{waiting} certificate requests wait for their signers already")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The process ends.
    #[error("the controller is going")]
    Going,
    /// The API server did not do it.
    #[error("cannot {verb} a CertificateSigningRequest of signer {signer}")]
    Api {
        /// What was asked.
        verb: &'static str,
        /// Whose.
        signer: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// It was denied, or failed.
    #[error("signer {signer} gave no certificate")]
    Refused {
        /// Whose.
        signer: String,
        /// Which and why.
        #[source]
        source: Refusal,
    },
    /// Somebody removed the request.
    #[error("the request of signer {signer} was deleted before it was signed")]
    Removed {
        /// Whose.
        signer: String,
    },
    /// Nobody signed.
    #[error("signer {signer} has not signed within {within:?}: the request is {state}")]
    Late {
        /// Whose.
        signer: String,
        /// The deadline.
        within: Duration,
        /// Whether it was approved.
        state: &'static str,
    },
    /// Who asked is gone.
    #[error("whoever asked signer {signer} has not waited")]
    Gone {
        /// Whose.
        signer: String,
    },
    /// What came back cannot be handed out.
    #[error("the certificate of signer {signer} is not handed out")]
    Unusable {
        /// Whose.
        signer: String,
        /// Why.
        #[source]
        source: ProofError,
    },
}

impl ExternalError {
    /// As metrics name it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Signer(_) => "signer",
            Self::Csr(_) => "csr",
            Self::Busy { .. } => "busy",
            Self::Going => "going",
            Self::Api { .. } => "api",
            Self::Refused { source, .. } => source.as_str(),
            Self::Removed { .. } => "removed",
            Self::Late { .. } => "late",
            Self::Gone { .. } => "gone",
            Self::Unusable { .. } => "unusable",
        }
    }

    /// For the caller.
    pub(crate) fn status(&self) -> Status {
        let text = causes(self);
        match self {
            Self::Signer(_) | Self::Csr(_) => Status::invalid_argument(text),
            Self::Busy { .. } => Status::resource_exhausted(text),
            Self::Going | Self::Api { .. } | Self::Removed { .. } => Status::unavailable(text),
            Self::Refused {
                source: Refusal::Denied { .. },
                ..
            } => Status::permission_denied(text),
            Self::Refused { .. } | Self::Unusable { .. } => Status::failed_precondition(text),
            Self::Late { .. } | Self::Gone { .. } => Status::deadline_exceeded(text),
        }
    }
}
