//! One file per verb.

pub(crate) mod analyze;
pub(crate) mod explain;
pub(crate) mod status;
pub(crate) mod version;
pub(crate) mod ztunnel_config;
