//! Why there is no authority.

use ambit_identity::revocation::RevocationError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an authority cannot be opened. Paths also name parts that are no files.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A list of revoked certificates is not of now.
    #[error("{path} is not usable")]
    Outdated {
        /// Which.
        path: PathBuf,
        /// Which of its lists.
        #[source]
        source: RevocationError,
    },
    /// A key or a certificate cannot be parsed or made.
    #[error("{path} is not usable: {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
