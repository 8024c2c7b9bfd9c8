//! Connections that were there before their pod joined: they go on as they are, outside the mesh.
//! In: the pod's TCP sockets at enrolment, and now and then after it. Out: how many of the former still live.
//! Owns the list. Must not happen here: ending one; a workload that must not talk in plaintext is restarted.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ambit_net::Netns;

use super::quiet::{SocketKey, plain_sockets};

/// The older connections of one pod.
#[derive(Debug)]
pub struct Older {
    alive: HashSet<SocketKey>,
    looked: Instant,
}

impl Older {
    /// Those of a pod with these addresses that is about to be captured.
    ///
    /// # Errors
    /// As [`plain_sockets`].
    pub fn list(netns: &Netns, own: &[IpAddr], now: Instant) -> io::Result<Self> {
        Ok(Self {
            alive: plain_sockets(netns, own)?,
            looked: now,
        })
    }

    /// How many lived when they were looked at last.
    pub fn count(&self) -> usize {
        self.alive.len()
    }

    /// Whether to look again.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.alive.is_empty() && now.duration_since(self.looked) >= EVERY
    }

    /// Forgets those that have ended.
    ///
    /// # Errors
    /// As [`plain_sockets`].
    pub fn look(&mut self, netns: &Netns, own: &[IpAddr], now: Instant) -> io::Result<()> {
        self.looked = now;
        let found = plain_sockets(netns, own)?;
        self.alive.retain(|key| found.contains(key));
        Ok(())
    }
}

/// Each look reads all sockets of the pod.
const EVERY: Duration = Duration::from_secs(5);
