//! What a single pod may switch off or on.
//!
//! In: the pod's annotations, read by the agent. Out: one word per slot in `POD_OPTIONS`. The
//! zero value captures everything.

/// Capture options of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodOptions {
    /// DNS stays plain (`ambient.istio.io/dns-capture: "false"`).
    pub plain_dns: bool,
    /// Plaintext inbound connections go straight to the application, HBONE is still accepted
    /// (`ambient.istio.io/bypass-inbound-capture: "true"`).
    pub plain_inbound: bool,
    /// Some interfaces bring connections that count as the pod's own
    /// (`istio.io/reroute-virtual-interfaces`).
    pub reroute: bool,
}

impl PodOptions {
    const PLAIN_DNS: u32 = 1;
    const PLAIN_INBOUND: u32 = 2;
    const REROUTE: u32 = 4;

    /// The word in the map.
    pub const fn bits(self) -> u32 {
        self.plain_dns as u32 * Self::PLAIN_DNS
            + self.plain_inbound as u32 * Self::PLAIN_INBOUND
            + self.reroute as u32 * Self::REROUTE
    }

    /// From the word in the map; unknown bits are ignored.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            plain_dns: bits & Self::PLAIN_DNS != 0,
            plain_inbound: bits & Self::PLAIN_INBOUND != 0,
            reroute: bits & Self::REROUTE != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_map() {
        for bits in 0..8 {
            assert_eq!(PodOptions::from_bits(bits).bits(), bits);
        }
        assert_eq!(PodOptions::from_bits(0), PodOptions::default());
    }
}
