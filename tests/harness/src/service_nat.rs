//! Service addresses: what kube-proxy does on a node.
//! In: a [`Cluster`]. Out: an nftables script that sends each service port to a random ready pod,
//! refuses ports without one, and lets a pod reach itself through its service.
//! Never here: applying it; the script replaces the table in one transaction.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::cluster::{Backends, Cluster};
use crate::families::Families;

/// The script for the cluster as it is, with one table a family.
pub fn script(cluster: &Cluster, families: Families) -> String {
    let (v4, v6): (Vec<_>, Vec<_>) = cluster
        .backends()
        .into_iter()
        .partition(|entry| entry.vip.is_ipv4());
    let mut script = String::new();
    if families.v4() {
        script.push_str(&table("ip", &v4));
    }
    if families.v6() {
        script.push_str(&table("ip6", &v6));
    }
    script
}

fn table(family: &str, backends: &[Backends]) -> String {
    let mut nat = String::new();
    let mut refuse = String::new();
    let mut own = BTreeSet::new();
    for entry in backends {
        let to = format!(
            "{family} daddr {} {} dport {}",
            entry.vip, entry.protocol, entry.port
        );
        if entry.endpoints.is_empty() {
            let answer = if entry.protocol == "tcp" {
                "reject with tcp reset"
            } else {
                "reject"
            };
            let _ = writeln!(refuse, "    {to} {answer}");
        } else {
            let _ = writeln!(nat, "    {to} {}", spread(family, entry));
            own.extend(entry.endpoints.iter().map(|(address, _)| *address));
        }
    }
    let mut hairpin = String::new();
    for address in own {
        let _ = writeln!(
            hairpin,
            "    ct status dnat {family} saddr {address} {family} daddr {address} masquerade"
        );
    }
    format!(
        "add table {family} lab-services\n\
         flush table {family} lab-services\n\
         table {family} lab-services {{\n\
         \x20 chain services {{\n{nat}  }}\n\
         \x20 chain refused {{\n{refuse}  }}\n\
         \x20 chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n\
         \x20 chain output {{ type nat hook output priority -100; jump services; }}\n\
         \x20 chain postrouting {{ type nat hook postrouting priority srcnat;\n{hairpin}  }}\n\
         \x20 chain forward {{ type filter hook forward priority filter; jump refused; }}\n\
         \x20 chain local {{ type filter hook output priority filter; jump refused; }}\n\
         }}\n"
    )
}

fn spread(family: &str, entry: &Backends) -> String {
    if let [(address, port)] = entry.endpoints[..] {
        return format!("dnat to {}", SocketAddr::new(address, port));
    }
    let count = entry.endpoints.len();
    let choice =
        |(index, (address, port)): (usize, &(IpAddr, u16))| format!("{index} : {address} . {port}");
    let choices: Vec<String> = entry.endpoints.iter().enumerate().map(choice).collect();
    format!(
        "dnat {family} to numgen random mod {count} map {{ {} }}",
        choices.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(vip: &str, endpoints: &[(&str, u16)]) -> Backends {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        Backends {
            service: ("a".into(), "b".into()),
            vip: ip(vip),
            protocol: "tcp",
            port: 80,
            endpoints: endpoints.iter().map(|(at, p)| (ip(at), *p)).collect(),
        }
    }

    #[test]
    fn one_endpoint_is_a_plain_rewrite_and_several_are_drawn_from_a_map() {
        let one = backends("10.96.1.1", &[("10.244.1.2", 9080)]);
        assert_eq!(spread("ip", &one), "dnat to 10.244.1.2:9080");
        let two = backends("10.96.1.1", &[("10.244.1.2", 9080), ("10.244.2.2", 9081)]);
        assert_eq!(
            spread("ip", &two),
            "dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 9080, 1 : 10.244.2.2 . 9081 }"
        );
        let six = backends("fd00::1", &[("fd00::2", 80), ("fd00::3", 81)]);
        assert_eq!(
            spread("ip6", &six),
            "dnat ip6 to numgen random mod 2 map { 0 : fd00::2 . 80, 1 : fd00::3 . 81 }"
        );
        let table = table("ip6", &[backends("fd00::1", &[("fd00::2", 80)])]);
        assert!(table.contains("ip6 daddr fd00::1 tcp dport 80 dnat to [fd00::2]:80"));
    }
}
