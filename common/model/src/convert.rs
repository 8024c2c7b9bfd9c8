//! Protobuf in, domain types out: the only fallible door.
//! A resource that does not convert is refused whole, with the field that is wrong; others of the
//! same response are kept.

pub mod authorization;
pub mod gateway;
pub mod route;
pub mod service;
pub mod workload;

use std::net::IpAddr;
use thiserror::Error;

/// Why a resource was refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct ConvertError {
    /// Proto field path, for example `services[ns/host].ports[0].target_port`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConvertError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// 4 or 16 bytes; v4-mapped IPv6 becomes IPv4.
pub(crate) fn ip(field: &str, bytes: &[u8]) -> Result<IpAddr, ConvertError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| {
        ConvertError::new(
            field,
            format!("an address has 4 or 16 bytes, not {}", bytes.len()),
        )
    })?;
    Ok(IpAddr::from(v6).to_canonical())
}

/// 0 to 65535.
pub(crate) fn port(field: &str, value: u32) -> Result<u16, ConvertError> {
    u16::try_from(value)
        .map_err(|_| ConvertError::new(field, format!("{value} is not a port number")))
}
