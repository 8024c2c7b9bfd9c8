//! The subcommands, one file each.

pub(crate) mod demo;
pub(crate) mod detach;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod find;
pub(crate) mod status;
pub(crate) mod up;
