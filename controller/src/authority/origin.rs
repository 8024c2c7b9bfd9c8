//! Where the authority itself is kept: a directory, or a cluster's mount and Secret.

use crate::cluster::authority::{AuthorityError, Store};
use ambit_ca::authority::{OpenError, Pem, SelfSigned, load, publish_crl};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where it is kept.
pub(crate) enum Origin {
    /// A directory: plugged in or self-signed.
    Directory(PathBuf),
    /// A cluster.
    Cluster(Store),
}

impl Origin {
    /// The authority as it is there now. A self-signed one is made, and renewed by whoever leads.
    pub(super) async fn load(
        &mut self,
        form: &SelfSigned<'_>,
        leads: bool,
        now: SystemTime,
    ) -> Result<Pem, AuthorityError> {
        match self {
            Self::Directory(dir) => Ok(load(dir, form, now)?),
            Self::Cluster(store) => store.load(form, leads, now).await,
        }
    }

    /// Publishes lists of revoked certificates beside it; in a cluster ConfigMaps carry them.
    pub(super) fn publish_crl(&self, pem: &str) -> Result<(), OpenError> {
        match self {
            Self::Directory(dir) => publish_crl(dir, pem),
            Self::Cluster(_) => Ok(()),
        }
    }

    /// Names it in errors.
    pub(super) fn place(&self) -> &Path {
        match self {
            Self::Directory(dir) => dir,
            Self::Cluster(store) => store.place(),
        }
    }
}
