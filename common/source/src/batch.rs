//! What a source tells its readers.

use ambit_crds::{FieldError, Object, ObjectKey, Severity};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One consistent step. The first batch of a source holds everything there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Objects that appeared, changed or went away, sorted by key.
    pub changes: Vec<Change>,
    /// All problems there are now, not only new ones: replaces the list of the batch before.
    pub problems: Vec<Problem>,
}

/// One object that changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is new or different.
    Upsert(Arc<Object>),
    /// It is gone.
    Delete(ObjectKey),
}

impl Change {
    /// Which object.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Upsert(object) => object.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// One mistake in one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, relative to the directory; of an API server `<plural>.<group>/<namespace>/<name>`.
    pub file: PathBuf,
    /// Which document of the file, from 0.
    pub document: usize,
    /// Line the document starts on, from 1; 0 where there are no lines.
    pub line: usize,
    /// Object, field and reason. With [`Severity::Error`] the document is not used; its last good
    /// version stays in force.
    pub error: FieldError,
}

impl Problem {
    /// Whether the document is refused.
    pub fn is_error(&self) -> bool {
        self.error.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.error)
    }
}
