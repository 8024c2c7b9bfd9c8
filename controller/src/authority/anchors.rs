//! The roots of an authority outside: a file that whoever runs the mesh keeps.
//! In: the file, now and again. Out: [`crate::signing::Signing`]. Every replica reads its own mount.
//! Must not happen here: a mesh without roots; roots that nobody wrote there.
//! Source: Istio's `/etc/external-ca-cert/root-cert.pem`.

use crate::external::External;
use crate::metrics::authority::{AuthorityMetrics, Reload};
use crate::signing::{Issuer, Signer, Signing};
use ambit_ca::roots::{Roots, RootsError};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;

/// The file, as Istio's documentation names it.
const FILE: &str = "root-cert.pem";

/// Why there are no roots.
#[derive(Debug, Error)]
pub(crate) enum AnchorsError {
    /// The file cannot be read.
    #[error(
        "no roots of the authority outside in {path} (root-cert.pem of Secret external-ca-cert)"
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It holds none.
    #[error("{path} holds no roots")]
    Roots {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: RootsError,
    },
    /// All of them are of the past.
    #[error("every root in {path} has expired")]
    Expired {
        /// Which.
        path: PathBuf,
    },
}

/// Keeps what is trusted.
pub(crate) struct Anchors {
    path: PathBuf,
    look: Duration,
    metrics: AuthorityMetrics,
    signer: watch::Sender<Arc<Signing>>,
}

impl Anchors {
    /// Reads the roots in `dir`, which certificates of an authority are proved by. `external` asks that authority.
    pub(crate) fn open(
        dir: &Path,
        external: impl FnOnce(&Roots) -> External,
        (look, metrics): (Duration, AuthorityMetrics),
    ) -> Result<(Self, Signer), AnchorsError> {
        let path = dir.join(FILE);
        let roots = read(&path, SystemTime::now())?;
        metrics.reloaded(Reload::Adopted);
        tracing::info!(path = %path.display(), roots = roots.len(), "certificates are signed by an authority outside");
        let (signer, receiver) = watch::channel(Arc::new(Signing {
            issuer: Issuer::External(external(&roots)),
            published: roots,
            revoked: Arc::from(""),
            pending: None,
            refusal: None,
        }));
        let anchors = Self {
            path,
            look,
            metrics,
            signer,
        };
        Ok((anchors, receiver))
    }

    /// Runs until the drain begins.
    pub(crate) async fn run(self, mut drain: drain::Watch) {
        loop {
            tokio::select! {
                _ = drain.signalled() => return,
                () = sleep(self.look) => {}
            }
            let now = self.signer.borrow().clone();
            if let Some(next) = self.next(&now, read(&self.path, SystemTime::now())) {
                self.signer.send_replace(Arc::new(next));
            }
        }
    }

    /// What is to be told when the file says `found`.
    fn next(&self, now: &Signing, found: Result<Roots, AnchorsError>) -> Option<Signing> {
        match found {
            Ok(roots) if roots == now.published => now.refusal.is_some().then(|| Signing {
                refusal: None,
                ..now.clone()
            }),
            Ok(roots) => {
                let Issuer::External(external) = &now.issuer else {
                    return None;
                };
                self.metrics.reloaded(Reload::Adopted);
                tracing::info!(roots = roots.len(), "other roots of the authority outside");
                Some(Signing {
                    issuer: Issuer::External(external.trusting(&roots)),
                    published: roots,
                    refusal: None,
                    ..now.clone()
                })
            }
            Err(error) => {
                let text = causes(&error);
                if now.refusal.as_ref() == Some(&text) {
                    return None;
                }
                self.metrics.reloaded(match error {
                    AnchorsError::Read { .. } => Reload::Unreadable,
                    AnchorsError::Roots { .. } | AnchorsError::Expired { .. } => Reload::Refused,
                });
                tracing::error!(error = text, "roots not taken over, the last ones go on");
                Some(Signing {
                    refusal: Some(text),
                    ..now.clone()
                })
            }
        }
    }
}

fn read(path: &Path, now: SystemTime) -> Result<Roots, AnchorsError> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(AnchorsError::Read { path, source }),
    };
    match Roots::from_pem(&text) {
        Ok(roots) if roots.facts().iter().all(|root| root.not_after <= now) => {
            Err(AnchorsError::Expired { path })
        }
        Ok(roots) => Ok(roots),
        Err(source) => Err(AnchorsError::Roots { path, source }),
    }
}
