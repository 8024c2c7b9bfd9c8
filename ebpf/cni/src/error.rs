//! Errors as the CNI specification wants them: JSON on stdout with a code.

use std::fmt::Display;

use serde_json::json;

/// Error codes of CNI SPEC.md, section "Error".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Incompatible CNI version.
    Version = 1,
    /// A necessary environment variable is missing or wrong.
    Environment = 4,
    /// Input or output failed.
    Io = 5,
    /// The network configuration is not JSON of the right shape.
    Decode = 6,
    /// The network configuration makes no sense.
    Config = 7,
    /// A transient condition: the runtime should try again.
    TryAgain = 11,
    /// CHECK: the pod is not as ADD left it.
    NotAsAdded = 100,
}

/// One failed command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{msg}: {details}")]
pub struct CniError {
    /// Numeric code of the specification.
    pub code: u32,
    /// Short description.
    pub msg: String,
    /// Facts.
    pub details: String,
}

impl CniError {
    /// An error with one of the known codes.
    pub fn new(code: Code, msg: impl Into<String>, details: impl Display) -> Self {
        Self {
            code: code as u32,
            msg: msg.into(),
            details: details.to_string(),
        }
    }

    /// The object for stdout.
    pub(crate) fn to_json(&self, cni_version: &str) -> Vec<u8> {
        json!({
            "cniVersion": cni_version,
            "code": self.code,
            "msg": self.msg,
            "details": self.details,
        })
        .to_string()
        .into_bytes()
    }
}
