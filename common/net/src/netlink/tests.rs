use super::*;

use std::net::IpAddr;
use std::process::Command;

use crate::test_ns;

fn rule(family: Family) -> Rule {
    Rule {
        family,
        priority: 32764,
        mark: 0x111,
        mask: 0xfff,
        packets: Packets::All,
        to: Target::Table(100),
    }
}

fn ip(ns: &Netns, args: &str) {
    let done = ns
        .enter(|| Command::new("ip").args(args.split_whitespace()).output())
        .unwrap()
        .unwrap();
    assert!(
        done.status.success(),
        "ip {args}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test]
async fn rules_are_added_once_and_deleted_once() {
    let Some(ns) = test_ns::scratch() else { return };
    let netlink = Netlink::open(&ns).unwrap();
    for family in [Family::V4, Family::V6] {
        let here = Rule {
            priority: 1000,
            packets: Packets::Sent,
            to: Target::Table(254),
            ..rule(family)
        };
        let dropped = Rule {
            priority: 1001,
            mark: 0,
            packets: Packets::Tcp("later0".into()),
            to: Target::Blackhole,
            ..rule(family)
        };
        let all = [here, dropped, rule(family)];
        for _ in 0..2 {
            for rule in &all {
                netlink.add_rule(rule).await.unwrap();
            }
        }
        assert_eq!(netlink.rules(family).await.unwrap(), all);
        for _ in 0..2 {
            for rule in &all {
                netlink.delete_rule(rule).await.unwrap();
            }
        }
        assert_eq!(netlink.rules(family).await.unwrap(), []);
    }
}

#[tokio::test]
async fn one_default_route_a_table_also_when_its_source_changes() {
    let Some(ns) = test_ns::scratch() else { return };
    let netlink = Netlink::open(&ns).unwrap();
    netlink.link_up("lo").await.unwrap();
    assert!(netlink.is_up("lo").await.unwrap());
    for (family, first, second) in [
        (Family::V4, "10.9.0.1", "10.9.0.2"),
        (Family::V6, "fd09::1", "fd09::2"),
    ] {
        // An address the kernel still looks for duplicates of is no source yet.
        let (bits, nodad) = match family {
            Family::V4 => (32, ""),
            Family::V6 => (128, "nodad"),
        };
        for address in [first, second] {
            ip(&ns, &format!("addr add {address}/{bits} dev lo {nodad}"));
        }
        let at = |source: &str| LocalRoute::Loop {
            family,
            table: 100,
            source: Some(source.parse().unwrap()),
        };
        let none = LocalRoute::Unreachable { family, table: 100 };
        for route in [at(first), at(second), none, at(first), at(first)] {
            netlink.set_default_route(&route).await.unwrap();
            assert_eq!(
                netlink.count_default_routes(family, 100).await.unwrap(),
                1,
                "{route:?}"
            );
        }
        netlink.clear_default_routes(family, 100).await.unwrap();
        assert_eq!(netlink.count_default_routes(family, 100).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn addresses_are_listed_and_their_changes_seen() {
    let Some(ns) = test_ns::scratch() else { return };
    let netlink = Netlink::open(&ns).unwrap();
    netlink.link_up("lo").await.unwrap();
    let mut events = Changes::open(&ns).unwrap();
    ip(&ns, "addr add 10.9.0.1/32 dev lo");
    let wanted: IpAddr = "10.9.0.1".parse().unwrap();
    let Some(Change::AddressAdded(added)) = events.next().await else {
        panic!("no event for the new address")
    };
    assert_eq!(
        (added.ip, added.prefix_len, added.global),
        (wanted, 32, true)
    );
    assert!(netlink.addresses().await.unwrap().contains(&added));
    ip(&ns, "addr del 10.9.0.1/32 dev lo");
    assert_eq!(events.next().await, Some(Change::AddressRemoved(added)));
}

#[tokio::test]
async fn a_missing_device_is_named() {
    let Some(ns) = test_ns::scratch() else { return };
    let netlink = Netlink::open(&ns).unwrap();
    let error = netlink.link_up("eth7").await.unwrap_err();
    assert_eq!(error.to_string(), "no network device eth7");
}
