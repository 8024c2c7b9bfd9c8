//! One file per verb.

pub(crate) mod analyze;
pub(crate) mod bug_report;
pub(crate) mod complete;
pub(crate) mod dashboard;
pub(crate) mod explain;
pub(crate) mod install;
pub(crate) mod man;
pub(crate) mod manifest;
pub(crate) mod precheck;
pub(crate) mod status;
pub(crate) mod tag;
pub(crate) mod uninstall;
pub(crate) mod upgrade;
pub(crate) mod verify_install;
pub(crate) mod version;
pub(crate) mod waypoint;
pub(crate) mod ztunnel_config;
