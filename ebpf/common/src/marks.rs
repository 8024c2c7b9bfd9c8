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
    /// A packet of a virtual interface of the pod that belongs to a captured connection: delivered locally.
    pub const REROUTED: Self = Self(0x113);
    /// A TCP packet of a virtual interface that was looked at and goes its way.
    pub const LOOKED_AT: Self = Self(0x114);
    /// The bits the rules compare.
    pub const MASK: u32 = 0xfff;
}
