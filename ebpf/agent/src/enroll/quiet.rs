//! When a leaving pod is quiet.
//! In: the captured TCP connections of the pod, looked at again and again. Out: [`Quiet`].
//! Pure but for the clock passed in and [`captured_sockets`], which reads `/proc/net/tcp{,6}` inside the namespace.
//! Spec: proc(5) `/proc/net/tcp`; a captured connection has a socket in the pod whose local address is not
//! the pod's: the original destination (outbound) or the client's address (inbound).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ambit_net::Netns;

use super::plan::Quiet;

/// One captured connection, by its end at the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketKey {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

/// The wait of one leaving pod.
#[derive(Debug)]
pub struct Drain {
    started: Instant,
    last_new: Instant,
    seen: HashSet<SocketKey>,
}

impl Drain {
    /// Starts to wait.
    pub fn start(now: Instant) -> Self {
        Self {
            started: now,
            last_new: now,
            seen: HashSet::new(),
        }
    }

    /// Takes a look.
    pub fn observe(&mut self, now: Instant, sockets: HashSet<SocketKey>) -> Quiet {
        if !sockets.is_subset(&self.seen) {
            self.last_new = now;
        }
        let none = sockets.is_empty();
        self.seen = sockets;
        let calm = now.duration_since(self.last_new) >= CALM
            || now.duration_since(self.started) >= PATIENCE;
        match (calm, none) {
            (false, _) => Quiet::Busy,
            (true, false) => Quiet::NoNewStreams,
            (true, true) => Quiet::Idle,
        }
    }
}

/// The captured connections alive in the namespace of a pod with these addresses.
///
/// # Errors
/// The namespace cannot be entered or `/proc` not read.
pub fn captured_sockets(netns: &Netns, own: &[IpAddr]) -> io::Result<HashSet<SocketKey>> {
    Ok(foreign(sockets(netns)?, own))
}

/// The connections between others and a namespace with these addresses that capture has no part in, as long
/// as the pod is not captured; afterwards captured ones look the same from the application's side.
///
/// # Errors
/// As [`captured_sockets`].
pub fn plain_sockets(netns: &Netns, own: &[IpAddr]) -> io::Result<HashSet<SocketKey>> {
    Ok(plain(sockets(netns)?, own))
}

fn sockets(netns: &Netns) -> io::Result<Vec<SocketKey>> {
    let (v4, v6) = netns.enter(|| {
        let v4 = fs::read_to_string("/proc/thread-self/net/tcp");
        // Absent without IPv6.
        let v6 = fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default();
        (v4, v6)
    })?;
    let mut found = parse_table(&v4?);
    found.extend(parse_table(&v6));
    Ok(found)
}

fn parse_table(table: &str) -> Vec<SocketKey> {
    table.lines().skip(1).filter_map(parse).collect()
}

fn plain(sockets: Vec<SocketKey>, own: &[IpAddr]) -> HashSet<SocketKey> {
    let with_others = |key: &SocketKey| own.contains(&key.local.0) && !own.contains(&key.remote.0);
    sockets.into_iter().filter(with_others).collect()
}

fn foreign(sockets: Vec<SocketKey>, own: &[IpAddr]) -> HashSet<SocketKey> {
    sockets
        .into_iter()
        .filter(|key| {
            !key.local.0.is_loopback()
                && !key.local.0.is_unspecified()
                && !own.contains(&key.local.0)
        })
        .collect()
}

/// One line, if it is a connection with data still to flow; malformed lines are none.
fn parse(line: &str) -> Option<SocketKey> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    ALIVE
        .contains(&state)
        .then_some(SocketKey { local, remote })
}

/// `0100007F:1F90`: 32-bit words in host order, then the port.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !ip.is_ascii() {
        return None;
    }
    let word = |at: usize| {
        let text = ip.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

/// No new stream for this long means that peers have stopped coming by HBONE.
const CALM: Duration = Duration::from_secs(5);
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_secs(30);
/// ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING (net/tcp_states.h).
const ALIVE: [u8; 8] = [1, 2, 3, 4, 5, 8, 9, 11];

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> SocketKey {
        SocketKey {
            local: (IpAddr::from([10, 96, 0, 1]), 80),
            remote: (IpAddr::from([10, 244, 1, 5]), port),
        }
    }

    #[test]
    fn quiet_needs_five_seconds_without_a_new_connection() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let set = |ports: &[u16]| ports.iter().map(|port| key(*port)).collect::<HashSet<_>>();
        let mut drain = Drain::start(start);
        for (second, ports, expected) in [
            (0, &[1][..], Quiet::Busy),
            (4, &[1, 2], Quiet::Busy),
            (8, &[1, 2], Quiet::Busy),
            (9, &[1, 2], Quiet::NoNewStreams),
            (10, &[], Quiet::Idle),
            (11, &[3], Quiet::Busy),
            (31, &[3, 4], Quiet::NoNewStreams),
            (32, &[], Quiet::Idle),
        ] {
            assert_eq!(
                drain.observe(at(second), set(ports)),
                expected,
                "second {second}"
            );
        }
        let mut never_used = Drain::start(start);
        assert_eq!(never_used.observe(at(1), set(&[])), Quiet::Busy);
        assert_eq!(never_used.observe(at(5), set(&[])), Quiet::Idle);
    }

    #[test]
    fn only_foreign_living_connections_count() {
        let own = ["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:3A98 0100007F:1234 01 0:0\n\
            1: 0501F40A:1F90 0601F40A:9999 01 0:0\n\
            2: 0100600A:0050 0501F40A:9C40 01 0:0\n\
            3: 0100600A:0050 0501F40A:9C41 06 0:0\n\
            4: 00000000:3A99 00000000:0000 0A 0:0\n\
            5: nonsense\n\
            6: 0100600A:0050\n";
        let found = foreign(parse_table(table), &own);
        assert_eq!(found.len(), 1);
        let only = found.into_iter().next().unwrap();
        assert_eq!(only.local, ("10.96.0.1".parse().unwrap(), 80));
        assert_eq!(only.remote, ("10.244.1.5".parse().unwrap(), 40000));

        // The second line is the pod's own with somebody else; that with itself is nobody's business.
        let with_itself = "  sl\n 0: 0501F40A:1F90 0501F40A:9999 01 0:0\n";
        let plain = |table| plain(parse_table(table), &own);
        let found = plain(table);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|key| key.local.1 == 8080));
        assert!(plain(with_itself).is_empty());
    }

    #[test]
    fn six_word_addresses_are_read_and_mapped_ones_canonical() {
        assert_eq!(
            address("0000000000000000FFFF00000100600A:0050"),
            Some(("10.96.0.1".parse().unwrap(), 80))
        );
        assert_eq!(
            address("000000FD000000000000000005000000:3AA0"),
            Some(("fd00::5".parse().unwrap(), 15008))
        );
        for wrong in [
            "",
            "00:0",
            "0100600A",
            "0100600A:zz",
            "ÄÄÄÄ:0050",
            "0100600A0:0050",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
