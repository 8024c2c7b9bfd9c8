//! The proxy's cgroup, whose processes are never captured.
//! In: a path below the cgroup2 mount. Out: the kernel's list of exempt cgroups.
//! Owns nothing. Must not happen here: an exemption by mark, which any pod can forge.

use std::path::PathBuf;

use ambit_ebpf_loader::{Capture, CgroupError, CgroupRef, ExemptError, cgroup2_mount};

/// Where proxies run.
#[derive(Debug)]
pub struct Exemption {
    paths: Vec<PathBuf>,
}

/// The proxy cannot be exempted.
#[derive(Debug, thiserror::Error)]
pub enum ExemptionError {
    /// Its cgroup is not there or not usable.
    #[error("the proxy's cgroup cannot be used")]
    Cgroup(#[from] CgroupError),
    /// The map cannot be written.
    #[error("the exemption cannot be written")]
    Map(#[from] ExemptError),
}

impl Exemption {
    /// Proxies run in or below these cgroups.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// Looks the cgroups up again and writes them: a restarted container has a new id.
    ///
    /// # Errors
    /// [`ExemptionError`].
    pub fn refresh(&self, capture: &Capture) -> Result<(), ExemptionError> {
        let mount = cgroup2_mount()?;
        let found = self
            .paths
            .iter()
            .map(|path| CgroupRef::of(path, &mount))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(capture.set_exempt(&found)?)
    }
}
