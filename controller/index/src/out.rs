//! What a derivation puts out; every output's file adds its own.

use crate::plan::Wanted;
use crate::resource::Resources;
use crate::statuses::Statuses;

/// What a derivation puts out.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) resources: Resources,
    pub(crate) statuses: Statuses,
    pub(crate) wanted: Wanted,
}
