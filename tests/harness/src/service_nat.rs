//! Service addresses: what kube-proxy does on a node.
//! In: a [`Cluster`]. Out: an nftables script that sends each service port to a random ready pod,
//! refuses ports without one, and lets a pod reach itself through its service.
//! Never here: applying it; the script replaces the table in one transaction.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::cluster::{Backends, Cluster};

/// The script for the cluster as it is.
pub fn script(cluster: &Cluster) -> String {
    let backends = cluster.backends();
    let mut nat = String::new();
    let mut refuse = String::new();
    let mut own = BTreeSet::new();
    for entry in &backends {
        let to = format!(
            "ip daddr {} {} dport {}",
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
            let _ = writeln!(nat, "    {to} {}", spread(entry));
            own.extend(entry.endpoints.iter().map(|(address, _)| *address));
        }
    }
    let mut hairpin = String::new();
    for address in own {
        let _ = writeln!(
            hairpin,
            "    ct status dnat ip saddr {address} ip daddr {address} masquerade"
        );
    }
    format!(
        "add table ip lab-services\n\
         flush table ip lab-services\n\
         table ip lab-services {{\n\
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

fn spread(entry: &Backends) -> String {
    if let [(address, port)] = entry.endpoints[..] {
        return format!("dnat to {address}:{port}");
    }
    let count = entry.endpoints.len();
    let choices: Vec<String> = entry
        .endpoints
        .iter()
        .enumerate()
        .map(|(index, (address, port))| format!("{index} : {address} . {port}"))
        .collect();
    format!(
        "dnat ip to numgen random mod {count} map {{ {} }}",
        choices.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(endpoints: Vec<(std::net::Ipv4Addr, u16)>) -> Backends {
        Backends {
            service: ("a".into(), "b".into()),
            vip: [10, 96, 1, 1].into(),
            protocol: "tcp",
            port: 80,
            endpoints,
        }
    }

    #[test]
    fn one_endpoint_is_a_plain_rewrite_and_several_are_drawn_from_a_map() {
        let one = backends(vec![([10, 244, 1, 2].into(), 9080)]);
        assert_eq!(spread(&one), "dnat to 10.244.1.2:9080");
        let two = backends(vec![
            ([10, 244, 1, 2].into(), 9080),
            ([10, 244, 2, 2].into(), 9081),
        ]);
        assert_eq!(
            spread(&two),
            "dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 9080, 1 : 10.244.2.2 . 9081 }"
        );
    }
}
