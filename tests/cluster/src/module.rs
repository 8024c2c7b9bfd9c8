//! A published Go module, for the files in it: manifests of the Gateway API, of sample applications.
//! In: path, version, checksum. Out: the directory it was unpacked to, in Go's own cache.
//! The checksum is pinned here besides Go's own check, so that a version cannot change its content.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{go, process};

/// A module at a version.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Import path, `sigs.k8s.io/gateway-api`
    pub path: &'static str,
    /// Version, `v1.4.1`
    pub version: &'static str,
    /// `h1:` checksum as in a go.sum
    pub sum: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
    sum: String,
}

impl Module {
    /// Where the module's files are; fetched if they are not there.
    ///
    /// # Errors
    /// No Go, no network, or other content than expected.
    pub fn directory(&self) -> Result<PathBuf> {
        let name = format!("{}@{}", self.path, self.version);
        let mut go = go::command()?;
        go.current_dir("/")
            .args(["mod", "download", "-json", &name]);
        let answer = process::output(&mut go)?;
        let downloaded: Downloaded = serde_json::from_str(&answer).with_context(|| name.clone())?;
        ensure!(
            downloaded.sum == self.sum,
            "{name} has the checksum {}, not {}",
            downloaded.sum,
            self.sum
        );
        Ok(downloaded.dir)
    }
}
