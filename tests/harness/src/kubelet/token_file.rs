//! A pod's token file.
//! In: a subject, a path, a lifetime. Out: a file that always holds a token good for at least half the
//! lifetime, replaced by rename.
//! Owns: the file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::warn;

use crate::tokens::{Issuer, Subject, TokenError};

/// Why there is no token file.
#[derive(Debug, Error)]
pub enum TokenFileError {
    /// No token.
    #[error("no token for {path}")]
    Token {
        /// The file
        path: PathBuf,
        /// Why
        #[source]
        source: TokenError,
    },
    /// Not written.
    #[error("token file {path}")]
    Write {
        /// The file
        path: PathBuf,
        /// Why
        #[source]
        source: io::Error,
    },
}

/// Writes one token.
///
/// # Errors
/// [`TokenFileError`].
pub fn write(
    issuer: &Issuer,
    subject: &Subject,
    path: &Path,
    lifetime: Duration,
) -> Result<(), TokenFileError> {
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    let token = issuer
        .token(subject, now, lifetime)
        .map_err(|source| TokenFileError::Token {
            path: path.to_owned(),
            source,
        })?;
    let new = path.with_extension("new");
    std::fs::write(&new, token)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|source| TokenFileError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Renews the token at half its lifetime, until dropped.
pub async fn keep(issuer: Arc<Issuer>, subject: Subject, path: PathBuf, lifetime: Duration) {
    loop {
        tokio::time::sleep(lifetime / 2).await;
        if let Err(error) = write(&issuer, &subject, &path, lifetime) {
            warn!(
                error = &error as &dyn std::error::Error,
                "token not renewed"
            );
        }
    }
}
