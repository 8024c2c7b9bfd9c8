//! Kernel settings of namespaces in which many connections are made in a short time.
//! In: a namespace. Out: its settings, the same for every contender.

use std::path::Path;

use ambit_harness::netns;
use anyhow::Context;

/// Lets a namespace make many connections in a short time; the same for every contender.
///
/// # Errors
/// A setting that is refused.
pub(crate) fn tune(netns: &Path) -> anyhow::Result<()> {
    set(netns, "net/ipv4/ip_local_port_range", "22000 65535")?;
    set(netns, "net/ipv4/tcp_tw_reuse", "1")
}

/// Lets a node forget closed connections early: its table is searched for every packet of every contender.
///
/// # Errors
/// A setting that is there and is refused.
pub(crate) fn shorten(netns: &Path) -> anyhow::Result<()> {
    const SETTING: &str = "net/netfilter/nf_conntrack_tcp_timeout_time_wait";
    // A node without connection tracking has nothing to forget.
    match set(netns, SETTING, "2") {
        Err(error) if Path::new("/proc/sys").join(SETTING).exists() => Err(error),
        _ => Ok(()),
    }
}

fn set(netns: &Path, setting: &str, value: &str) -> anyhow::Result<()> {
    let path = Path::new("/proc/sys").join(setting);
    netns::inside(netns, || std::fs::write(&path, value))?
        .with_context(|| format!("{} = {value}", path.display()))
}
