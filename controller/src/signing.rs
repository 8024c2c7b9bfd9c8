//! Who signs now and what is trusted: what the keeper of the authority tells everybody else.
//! In: [`Signing`]. Out: the latest one, watched; certificates of whoever signs. Must not happen here: a change of it.

use crate::external::{External, ExternalError, Wish};
use ambit_ca::authority::{Authority, ServerCertificate, SignError, Signed};
use ambit_ca::csr::{self, CsrError};
use ambit_ca::roots::Roots;
use ambit_ca::rotation::Step;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;
use tokio::sync::watch;

/// Who signs now, and what is trusted.
#[derive(Clone)]
pub(crate) struct Signing {
    /// Signs, and sends all that is trusted along.
    pub(crate) issuer: Issuer,
    /// What is published.
    pub(crate) published: Roots,
    /// Lists of revoked certificates that are published, PEM; empty without any.
    pub(crate) revoked: Arc<str>,
    /// What is still to be done until only the authority's own roots are.
    pub(crate) pending: Option<Step>,
    /// Why the set that lies there is not used; `None` while it is.
    pub(crate) refusal: Option<String>,
}

/// Who signs. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Issuer {
    /// This process, which has the key.
    Own(Authority),
    /// Somebody else, who is asked each time.
    External(External),
}

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(crate) enum IssueError {
    /// The request is none.
    #[error("the certificate request cannot be signed")]
    Csr(#[from] CsrError),
    /// Our own key did not sign.
    #[error("the certificate cannot be signed")]
    Sign(#[from] SignError),
    /// Nobody else did.
    #[error("there is no certificate of an authority outside")]
    External(#[from] ExternalError),
}

impl Issuer {
    /// Has the request of a workload signed.
    pub(crate) async fn sign(
        &self,
        wish: &Wish<'_>,
        now: SystemTime,
    ) -> Result<Signed, IssueError> {
        match self {
            Self::Own(authority) => {
                let key = csr::public_key(wish.csr)?;
                Ok(authority.sign(wish.id, &key, wish.lifetime, now)?)
            }
            Self::External(external) => Ok(external.sign(wish).await?),
        }
    }

    /// A certificate for our own ports; addresses are in those of our own key alone.
    pub(crate) async fn server_certificate(
        &self,
        (names, ips): (&[String], &[IpAddr]),
        now: SystemTime,
    ) -> Result<ServerCertificate, IssueError> {
        match self {
            Self::Own(authority) => Ok(authority.server_certificate(names, ips, now)?),
            Self::External(external) => Ok(external.server_certificate(names).await?),
        }
    }

    /// Its roots, first the one that signs, as far as it is known.
    pub(crate) fn roots(&self) -> &Roots {
        match self {
            Self::Own(authority) => authority.roots(),
            Self::External(external) => external.roots(),
        }
    }

    /// PEM of every root a peer should trust.
    pub(crate) fn roots_pem(&self) -> &str {
        match self {
            Self::Own(authority) => authority.roots_pem(),
            Self::External(external) => external.roots_pem(),
        }
    }

    /// Until when it can sign, where that is known.
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        match self {
            Self::Own(authority) => Some(authority.not_after()),
            Self::External(_) => None,
        }
    }

    /// Who signs in our place.
    pub(crate) fn external_signer(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::External(external) => Some(external.signer()),
        }
    }

    /// Whether it signs as the other does and sends the same along.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => one.is_same(other),
            _ => self.signs_like(other),
        }
    }

    /// Whether certificates of the one are as good as those of the other.
    pub(crate) fn signs_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => one.signs_like(other),
            (Self::External(one), Self::External(other)) => one.roots() == other.roots(),
            _ => false,
        }
    }
}

/// The latest [`Signing`].
pub(crate) type Signer = watch::Receiver<Arc<Signing>>;

/// What signs now.
pub(crate) fn current(signer: &Signer) -> Arc<Signing> {
    signer.borrow().clone()
}
