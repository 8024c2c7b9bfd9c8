//! Socket marks that the pod's routing rules look at.
//!
//! Owns nothing; the programs set them, `ambit-agent` writes the matching rules.

/// A socket mark (`SO_MARK`). Compared under [`Mark::MASK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Mark {
    /// A captured application socket: routed back into the pod.
    pub const CAPTURED: Self = Self(0x111);
    /// A proxy socket that dials the application from the client's address.
    pub const TO_APP: Self = Self(0x112);
    /// The bits the rules compare.
    pub const MASK: u32 = 0xfff;
}
