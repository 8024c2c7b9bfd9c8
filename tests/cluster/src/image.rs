//! Container images without a container tool.
//! In: a tree of files, a configuration. Out: an OCI archive that `ctr images import` and registries'
//! tools take. The same tree gives the same bytes: no times, no owners, sorted names, no compression.
//! Spec: OCI image specification 1.1 (layout, manifest, configuration), RFC of tar: POSIX 1003.1 ustar.

mod archive;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;

pub use archive::write;
pub use tree::{Content, Tree};

/// How a container of the image starts, and what the image is called.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Full references, `docker.io/ambitmesh/ztunnel:0.1.0`: containerd knows it by each of them
    pub references: Vec<String>,
    /// What runs
    pub entrypoint: Vec<String>,
    /// Its arguments where a pod gives none
    pub command: Vec<String>,
    /// `NAME=value`
    pub environment: Vec<String>,
    /// `uid` or `uid:gid`; empty is root
    pub user: String,
    /// Directory it starts in; empty is `/`
    pub working_directory: String,
    /// `9080/tcp`
    pub ports: Vec<String>,
    /// `org.opencontainers.image.…`
    pub labels: BTreeMap<String, String>,
}

/// A SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut hex = String::with_capacity(64);
        for byte in digest.as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
