//! Rules for what virtual interfaces of a pod bring.
//! In: the pod's namespace, names. Out: marked packets are delivered locally, unmarked TCP of those
//! interfaces goes nowhere, and the indices of the interfaces that are there.
//! Must not happen here: a moment in which a named interface brings TCP that nobody has looked at.
//! Spec: `iif NAME ipproto tcp fwmark 0/0xfff blackhole`, `iif lo fwmark 0x113 → main`,
//! `fwmark 0x113 → table 100`.

use std::collections::BTreeSet;

use ambit_ebpf_loader::Mark;
use ambit_net::Netns;
use ambit_net::netlink::{Family, Netlink, NetlinkError, Packets, Rule, Target};

use super::routing::{CAPTURED_TABLE, RoutingError};

/// Makes `names` the interfaces of the namespace that are rerouted, whenever they are there; returns
/// the indices of those that are.
///
/// # Errors
/// [`RoutingError::Netlink`]; what was done stays until the pod's rules are removed.
pub(super) async fn set(
    netns: &Netns,
    names: &BTreeSet<String>,
) -> Result<BTreeSet<u32>, RoutingError> {
    let netlink = Netlink::open(netns)?;
    for family in [Family::V4, Family::V6] {
        match set_rules(&netlink, family, names).await {
            Err(error) if family == Family::V6 => {
                // Without IPv6 in the kernel nothing comes by it.
                tracing::debug!(error = &error as &dyn std::error::Error, "no ipv6 rules");
            }
            done => done?,
        }
    }
    let mut present = BTreeSet::new();
    for name in names {
        match netlink.link_index(name).await {
            Ok(index) => {
                present.insert(index);
            }
            Err(NetlinkError::NoDevice { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(present)
}

/// Removes all rules of one family.
///
/// # Errors
/// As the kernel says.
pub(super) async fn remove(netlink: &Netlink, family: Family) -> Result<(), NetlinkError> {
    for rule in ours(netlink, family).await? {
        netlink.delete_rule(&rule).await?;
    }
    Ok(())
}

async fn set_rules(
    netlink: &Netlink,
    family: Family,
    names: &BTreeSet<String>,
) -> Result<(), NetlinkError> {
    let wanted = rules(family, names);
    for rule in &wanted {
        netlink.add_rule(rule).await?;
    }
    for rule in ours(netlink, family).await? {
        if !wanted.contains(&rule) {
            netlink.delete_rule(&rule).await?;
        }
    }
    Ok(())
}

async fn ours(netlink: &Netlink, family: Family) -> Result<Vec<Rule>, NetlinkError> {
    let mut found = netlink.rules(family).await?;
    found.retain(|rule| PRIORITIES.contains(&rule.priority));
    Ok(found)
}

/// The rules of one family, in order of preference; none without names.
fn rules(family: Family, names: &BTreeSet<String>) -> Vec<Rule> {
    let rule = |priority, mark, packets, to| Rule {
        family,
        priority,
        mark,
        mask: Mark::MASK,
        packets,
        to,
    };
    let [unseen, answers, taken] = PRIORITIES;
    let dropped = names
        .iter()
        .map(|name| rule(unseen, 0, Packets::Tcp(name.clone()), Target::Blackhole));
    let mut rules: Vec<_> = dropped.collect();
    if !rules.is_empty() {
        let mark = Mark::REROUTED.0;
        rules.push(rule(
            answers,
            mark,
            Packets::Sent,
            Target::Table(MAIN_TABLE),
        ));
        let local = Target::Table(CAPTURED_TABLE);
        rules.push(rule(taken, mark, Packets::All, local));
    }
    rules
}

/// Before those of captured sockets.
const PRIORITIES: [u32; 3] = [32760, 32761, 32762];
/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_is_closed_before_anything_is_taken_from_it() {
        let names: BTreeSet<String> = ["docker0".into(), "tap0".into()].into();
        let rules = rules(Family::V4, &names);
        let said: Vec<_> = rules
            .iter()
            .map(|rule| (rule.priority, rule.mark, rule.packets.clone(), rule.to))
            .collect();
        let tcp = |name: &str| Packets::Tcp(name.into());
        assert_eq!(
            said,
            [
                (32760, 0, tcp("docker0"), Target::Blackhole),
                (32760, 0, tcp("tap0"), Target::Blackhole),
                (32761, 0x113, Packets::Sent, Target::Table(254)),
                (32762, 0x113, Packets::All, Target::Table(100)),
            ]
        );
        assert!(super::rules(Family::V6, &BTreeSet::new()).is_empty());
    }
}
