//! The authority outside: somebody who signs CertificateSigningRequests of this cluster.
//! In: identities that were permitted, with the request of whoever has the key; names of our own ports. Out: chains that
//! peers believe, or why there is none. Which signer, and what an answer is worth, decides `ambit_ca::external`.
//! Must not happen here: a request for another identity than the permitted one; an answer that was not proved.
//! Source: Istio's `EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API`.

mod error;
mod metrics;
mod queue;
mod request;

pub(crate) use error::ExternalError;
pub(crate) use metrics::ExternalMetrics;
pub(crate) use queue::{Queue, Requests};

use ambit_ca::authority::{Lifetimes, ServerCertificate, Signed};
use ambit_ca::csr;
use ambit_ca::external::proof::{Asked, Names, Proved, prove};
use ambit_ca::external::signers::{Signers, lifetime};
use ambit_ca::roots::Roots;
use ambit_model::SpiffeId;
use queue::{Ask, Usages};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a workload asks for.
pub(crate) struct Wish<'a> {
    /// The identity it may have.
    pub(crate) id: &'a SpiffeId,
    /// Its request, PEM.
    pub(crate) csr: &'a str,
    /// The signer it names; empty: none.
    pub(crate) signer: &'a str,
    /// The lifetime it names; zero: none.
    pub(crate) lifetime: Duration,
}

/// Who is asked, and whom their certificates are proved by. Cheap to clone.
#[derive(Clone)]
pub(crate) struct External {
    queue: Queue,
    signers: Arc<Signers>,
    lifetimes: Lifetimes,
    roots: Arc<Roots>,
    pem: Arc<str>,
}

impl External {
    /// Asks these signers; whoever owns [`Requests`] carries it out.
    pub(crate) fn new(queue: Queue, signers: Signers, lifetimes: Lifetimes, roots: &Roots) -> Self {
        Self {
            queue,
            signers: Arc::new(signers),
            lifetimes,
            pem: roots.pem().into(),
            roots: Arc::new(roots.clone()),
        }
    }

    /// The same with other roots.
    pub(crate) fn trusting(&self, roots: &Roots) -> Self {
        Self {
            pem: roots.pem().into(),
            roots: Arc::new(roots.clone()),
            ..self.clone()
        }
    }

    /// Who signs for those that name nobody.
    pub(crate) fn signer(&self) -> &str {
        self.signers.default_signer()
    }

    /// What its certificates verify to.
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The same, PEM.
    pub(crate) fn roots_pem(&self) -> &str {
        &self.pem
    }

    /// Has the request of a workload signed.
    pub(crate) async fn sign(&self, wish: &Wish<'_>) -> Result<Signed, ExternalError> {
        let signer = self.signers.of(wish.signer)?;
        let checked = csr::only_for(wish.csr, wish.id)?;
        let ask = Ask {
            csr: checked.pem,
            signer,
            usages: Usages::BothRoles,
            lifetime: lifetime(wish.lifetime, &self.lifetimes),
            whose: wish.id.to_string(),
        };
        let asked = Asked {
            key: &checked.key,
            names: Names::Identity(wish.id),
        };
        let Proved {
            mut chain,
            not_after,
        } = self.asked(ask, &asked).await?;
        chain.push(self.pem.to_string());
        Ok(Signed { chain, not_after })
    }

    /// A key and a certificate for our own ports, of the signer that requests without one have.
    pub(crate) async fn server_certificate(
        &self,
        names: &[String],
    ) -> Result<ServerCertificate, ExternalError> {
        let made = csr::of_server(names)?;
        let ask = Ask {
            csr: made.pem,
            signer: self.signer().to_owned(),
            usages: Usages::Server,
            lifetime: lifetime(Duration::ZERO, &self.lifetimes),
            whose: names.first().cloned().unwrap_or_default(),
        };
        let asked = Asked {
            key: &made.key,
            names: Names::Dns(names),
        };
        let proved = self.asked(ask, &asked).await?;
        Ok(ServerCertificate {
            chain: proved.chain.concat(),
            key: made.private_key,
            not_after: proved.not_after,
        })
    }

    async fn asked(&self, ask: Ask, asked: &Asked<'_>) -> Result<Proved, ExternalError> {
        let signer = ask.signer.clone();
        let pem = self.queue.ask(ask).await?;
        let proved = prove(&pem, asked, &self.roots, SystemTime::now());
        proved.map_err(|source| {
            self.queue.metrics.refused("unusable");
            ExternalError::Unusable { signer, source }
        })
    }
}
