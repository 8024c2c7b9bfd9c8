//! The mesh as a user installs it.
//! In: a cluster. Out: what `ambit` said. A node of a test cluster is a part of a machine; where that machine has
//! both versions of control groups, the agents are told where the second is.

use anyhow::{Result, ensure};

use crate::site::Site;
use crate::wait::until;

/// Installs the profile `demo`.
pub(crate) fn install(site: &Site) -> Result<String> {
    install_with(site, &[])
}

/// The same with values, `chart.name=value`.
pub(crate) fn install_with(site: &Site, values: &[&str]) -> Result<String> {
    let cgroups = site
        .cgroup_path()
        .map(|path| format!("cni.cgroupPath={path}"));
    let mut arguments = vec!["install", "--profile", "demo"];
    for value in cgroups.as_deref().iter().chain(values) {
        arguments.extend(["--set", value]);
    }
    site.ambit(&arguments)
}

/// Waits until so many proxies have what the controller has. One that has just lost its controller does not
/// know of a waypoint that has just come.
pub(crate) fn in_sync(site: &Site, proxies: usize) -> Result<()> {
    until("proxies in sync", || {
        let status = site.ambit(&["status"])?;
        ensure!(status.matches("in sync").count() == proxies, "{status}");
        Ok(())
    })
}
