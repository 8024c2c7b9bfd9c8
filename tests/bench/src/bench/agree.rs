//! Whether client and server tell the same story. Pure.
//! In: what the client did, what the server counted, who should have met whom. Out: the first contradiction.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::ensure;

use crate::load::Summary;
use crate::serve::Counts;

/// Who should have met whom.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Name of the server
    pub(crate) server: String,
    /// Its pod's address; every way ends there
    pub(crate) address: IpAddr,
    /// The client as the server sees it
    pub(crate) peer: IpAddr,
}

/// Compares.
///
/// # Errors
/// What contradicts what.
pub(crate) fn check(
    expected: &Expected,
    port: u16,
    summary: &Summary,
    counts: &Counts,
) -> anyhow::Result<()> {
    ensure!(
        counts.broken.is_empty(),
        "the server saw {:?}",
        counts.broken
    );
    for (what, client, server) in [
        ("connections", summary.connections, counts.connections),
        ("requests", summary.requests, counts.requests),
        ("bytes", summary.bytes, counts.bytes),
    ] {
        ensure!(client == server, "{what}: client {client}, server {server}");
    }
    ensure!(summary.connections > 0, "nothing was done");
    let servers = BTreeSet::from([expected.server.clone()]);
    ensure!(
        summary.servers == servers,
        "{:?} answered instead of {servers:?}",
        summary.servers
    );
    let locals = BTreeSet::from([SocketAddr::new(expected.address, port)]);
    for seen in [&summary.locals, &counts.locals] {
        ensure!(*seen == locals, "reached at {seen:?} instead of {locals:?}");
    }
    let peers = BTreeSet::from([expected.peer]);
    for seen in [&summary.peers, &counts.peers] {
        ensure!(*seen == peers, "seen from {seen:?} instead of {peers:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contradiction_is_found() {
        let expected = Expected {
            server: "n/server".into(),
            address: [10, 244, 2, 2].into(),
            peer: [10, 244, 1, 2].into(),
        };
        let local: SocketAddr = "10.244.2.2:9002".parse().unwrap();
        let summary = Summary {
            connections: 2,
            requests: 3,
            servers: ["n/server".to_owned()].into(),
            locals: [local].into(),
            peers: [expected.peer].into(),
            ..Summary::default()
        };
        let counts = Counts {
            connections: 2,
            requests: 3,
            locals: [local].into(),
            peers: [expected.peer].into(),
            ..Counts::default()
        };
        assert!(check(&expected, 9002, &summary, &counts).is_ok());
        assert!(check(&expected, 9001, &summary, &counts).is_err());
        let changes: [fn(&mut Summary, &mut Counts); 6] = [
            |s, _| s.connections = 1,
            |_, c| c.requests = 4,
            |s, _| s.bytes = 9,
            |s, _| s.servers = ["m/server".to_owned()].into(),
            |_, c| c.peers = [IpAddr::from([10, 244, 2, 2])].into(),
            |_, c| c.broken = vec!["changed bytes".into()],
        ];
        for change in changes {
            let (mut s, mut c) = (summary.clone(), counts.clone());
            change(&mut s, &mut c);
            assert!(check(&expected, 9002, &s, &c).is_err(), "{s:?} {c:?}");
        }
    }
}
