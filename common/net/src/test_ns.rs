//! Scratch namespaces for tests: anonymous, gone with their last handle.

use crate::netns::Netns;

/// A new namespace, or `None` (with a message) when the test may not make one.
///
/// # Panics
/// If it cannot be made although `CI` is set.
pub(crate) fn scratch() -> Option<Netns> {
    if !nix::unistd::Uid::effective().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "needs root to make network namespaces"
        );
        eprintln!("cannot run: needs root to make network namespaces");
        return None;
    }
    Some(Netns::make().unwrap())
}
