//! The cryptography of every handshake: aws-lc-rs, TLS 1.3 suites, post-quantum preferred or required.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, OnceLock};

/// Which key exchanges handshakes may use (`COMPLIANCE_POLICY`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compliance {
    /// Post-quantum is preferred, classical is taken. The default.
    #[default]
    Preferred,
    /// `pqc`: X25519MLKEM768 alone. Peers that lack it are refused.
    PostQuantum,
}

/// A policy that this build cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCompliance {
    /// `fips-140-2` and its kin.
    #[error(
        "this build has no cryptography that is validated for FIPS 140; use pqc or leave it unset"
    )]
    Fips,
    /// Anything else.
    #[error("no such policy; use pqc or leave it unset")]
    Other,
}

impl FromStr for Compliance {
    type Err = UnknownCompliance;

    fn from_str(text: &str) -> Result<Self, UnknownCompliance> {
        match text {
            "" => Ok(Self::Preferred),
            "pqc" => Ok(Self::PostQuantum),
            text if text.starts_with("fips") => Err(UnknownCompliance::Fips),
            _ => Err(UnknownCompliance::Other),
        }
    }
}

impl Compliance {
    /// What [`FromStr`] makes it of.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preferred => "",
            Self::PostQuantum => "pqc",
        }
    }

    /// Makes it the policy of every handshake of this process, those of libraries included. To be called once, before
    /// the first.
    ///
    /// # Panics
    /// If another policy is in force already: handshakes may have been made by it.
    pub fn enforce(self) {
        let in_force = *CHOSEN.get_or_init(|| self);
        assert_eq!(in_force, self, "one policy for the life of a process");
        if self == Self::PostQuantum {
            // Whoever asks rustls for its default has to have this one; a second call finds it there.
            let _ = CryptoProvider::clone(provider()).install_default();
        }
    }
}

static CHOSEN: OnceLock<Compliance> = OnceLock::new();

/// Algorithms of both roles.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(provider_for(*CHOSEN.get_or_init(Compliance::default))));
    &PROVIDER
}

fn provider_for(compliance: Compliance) -> CryptoProvider {
    let mut kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    if compliance == Compliance::Preferred {
        kx_groups.extend([
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ]);
    }
    CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups,
        ..aws_lc_rs::default_provider()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_quantum_is_preferred_or_alone_and_fips_is_not_claimed() {
        let groups = |policy: &str| -> Vec<String> {
            let compliance = policy.parse().unwrap();
            let groups = provider_for(compliance).kx_groups;
            groups.iter().map(|g| format!("{:?}", g.name())).collect()
        };
        assert_eq!(groups("pqc"), ["X25519MLKEM768"]);
        assert_eq!(
            groups(""),
            ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"]
        );
        let refused = |policy: &str| policy.parse::<Compliance>().unwrap_err();
        assert_eq!(refused("fips-140-2"), UnknownCompliance::Fips);
        assert_eq!(refused("PQC"), UnknownCompliance::Other);
    }
}
