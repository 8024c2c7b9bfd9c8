//! The life of the certificate authority: found again when it changes, its roots published before they
//! sign and withdrawn after.
//! In: where it is kept, who leads, the time. Out: [`crate::signing::Signing`], watched by everything that signs or trusts.
//! Owns: authorities with their keys, in memory; the record of what is published.
//! Must not happen here: a set in use that peers would not believe; a root that signs before it is
//! published; the record written by two replicas.

mod anchors;
mod keeper;
mod ledger;
mod origin;

pub(crate) use anchors::Anchors;
pub(crate) use keeper::{Keeper, Settings};
pub(crate) use ledger::Ledger;
pub(crate) use origin::Origin;
