//! Rules, routes and sysctls in a pod, and which addresses it has.
//! In: the pod's namespace. Out: a namespace in which marked connections loop through `lo`.
//! Owns nothing. Must not happen here: a family without rules whose marked packets could leave.
//! Spec: `fwmark 0x111 → table 100: local default dev lo src POD`, `fwmark 0x112 → table 101: local default dev lo`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::rerouting;
use ambit_ebpf_loader::Mark;
use ambit_net::Netns;
use ambit_net::netlink::{Family, LocalRoute, Netlink, NetlinkError, Packets, Rule, Target};
use ambit_net::sysctl::{Sysctl, SysctlError, SysctlRoot};

/// Why a pod's routing is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// A rule, route or device.
    #[error("cannot change the pod's routing")]
    Netlink(#[from] NetlinkError),
    /// A sysctl.
    #[error("cannot set a sysctl of the pod")]
    Sysctl(#[from] SysctlError),
}

/// Makes captured connections loop, and returns the pod's addresses. `reported` are those the CNI
/// plugin named, used while the kernel shows none.
///
/// # Errors
/// [`RoutingError`]; what was done stays until [`unroute`].
pub async fn route(
    netns: &Netns,
    sysctls: &SysctlRoot,
    reported: &[IpAddr],
) -> Result<BTreeSet<IpAddr>, RoutingError> {
    for sysctl in [
        Sysctl::TcpFwmarkAccept,
        Sysctl::FwmarkReflect4,
        Sysctl::TcpMigrateReq,
    ] {
        sysctls.write(netns, sysctl, 1)?;
    }
    match sysctls.write(netns, Sysctl::FwmarkReflect6, 1) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
        written => written?,
    }
    let netlink = Netlink::open(netns)?;
    netlink.link_up("lo").await?;
    let addresses = addresses(&netlink, reported).await?;
    family(&netlink, Family::V4, &addresses).await?;
    let v6 = family(&netlink, Family::V6, &addresses).await;
    if addresses.iter().any(IpAddr::is_ipv6) {
        v6?;
    } else if let Err(error) = v6 {
        // Nothing can leave by a family the pod has no address of.
        tracing::debug!(error = &error as &dyn std::error::Error, "no ipv6 routing");
    }
    Ok(addresses)
}

/// Removes rules and routes. Sysctls stay: without rules they change nothing.
///
/// # Errors
/// [`RoutingError`].
pub async fn unroute(netns: &Netns) -> Result<(), RoutingError> {
    let netlink = Netlink::open(netns)?;
    for family in [Family::V4, Family::V6] {
        let removed = remove(&netlink, family).await;
        if family == Family::V4 {
            removed?;
        } else if let Err(error) = removed {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "no ipv6 routing to remove"
            );
        }
    }
    Ok(())
}

/// Whether a rule of ours is in the namespace.
///
/// # Errors
/// [`RoutingError::Netlink`].
pub async fn has_rules(netns: &Netns) -> Result<bool, RoutingError> {
    let found = Netlink::open(netns)?.rules(Family::V4).await?;
    Ok(rules(Family::V4).iter().any(|ours| found.contains(ours)))
}

async fn family(
    netlink: &Netlink,
    family: Family,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(), NetlinkError> {
    let source = addresses
        .iter()
        .copied()
        .find(|ip| Family::of(*ip) == family);
    let captured = match source {
        Some(source) => LocalRoute::Loop {
            family,
            table: CAPTURED_TABLE,
            source: Some(source),
        },
        // An app that dials this family hears at once that there is no route.
        None => LocalRoute::Unreachable {
            family,
            table: CAPTURED_TABLE,
        },
    };
    netlink.set_default_route(&captured).await?;
    let to_app = LocalRoute::Loop {
        family,
        table: TO_APP_TABLE,
        source: None,
    };
    netlink.set_default_route(&to_app).await?;
    for rule in rules(family) {
        netlink.add_rule(&rule).await?;
    }
    Ok(())
}

async fn remove(netlink: &Netlink, family: Family) -> Result<(), NetlinkError> {
    rerouting::remove(netlink, family).await?;
    for rule in rules(family) {
        netlink.delete_rule(&rule).await?;
    }
    netlink.clear_default_routes(family, CAPTURED_TABLE).await?;
    netlink.clear_default_routes(family, TO_APP_TABLE).await
}

async fn addresses(
    netlink: &Netlink,
    reported: &[IpAddr],
) -> Result<BTreeSet<IpAddr>, NetlinkError> {
    let listed = netlink.addresses().await?;
    let found: BTreeSet<IpAddr> = listed
        .into_iter()
        .filter(|address| address.global && is_pod_address(address.ip))
        .map(|address| address.ip)
        .collect();
    Ok(if found.is_empty() {
        reported.iter().copied().collect()
    } else {
        found
    })
}

/// The rules of one family, in order of preference.
pub fn rules(family: Family) -> [Rule; 2] {
    let rule = |priority, mark: Mark, table| Rule {
        family,
        priority,
        mark: mark.0,
        mask: Mark::MASK,
        packets: Packets::All,
        to: Target::Table(table),
    };
    [
        rule(32763, Mark::TO_APP, TO_APP_TABLE),
        rule(32764, Mark::CAPTURED, CAPTURED_TABLE),
    ]
}

/// Whether an address matters outside the pod: loopback and link-local ones do not.
pub fn is_pod_address(ip: IpAddr) -> bool {
    !ip.is_loopback()
        && match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        }
}

pub(super) const CAPTURED_TABLE: u32 = 100;
const TO_APP_TABLE: u32 = 101;
