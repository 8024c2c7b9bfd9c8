//! What a load generator reports.
//! In: answers. Out: totals that the server's tally must agree with.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::message::Answer;

/// Totals of one load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Wall-clock time from the first connect to the last answer
    pub(crate) seconds: f64,
    /// Connections made
    pub(crate) connections: u64,
    /// Requests answered
    pub(crate) requests: u64,
    /// Bulk bytes the server says it received, equal to those sent
    pub(crate) bytes: u64,
    /// Names of the servers that answered
    pub(crate) servers: BTreeSet<String>,
    /// Addresses they were reached at
    pub(crate) locals: BTreeSet<SocketAddr>,
    /// The client as they saw it
    pub(crate) peers: BTreeSet<IpAddr>,
    /// Of paced requests
    pub(crate) latency: Option<Latency>,
}

/// Time from when a request was due to when it was answered, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Median
    pub(crate) p50: f64,
    /// 99th percentile
    pub(crate) p99: f64,
    /// 99.9th percentile
    pub(crate) p999: f64,
    /// Longest
    pub(crate) max: f64,
}

impl Summary {
    /// Counts one connection by the answer it got.
    pub(crate) fn connection(&mut self, answer: Answer) {
        self.connections += 1;
        self.servers.insert(answer.server);
        self.locals.insert(answer.local);
        self.peers.insert(answer.peer.ip());
    }

    /// Adds what another worker did at the same time.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.connections += other.connections;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.servers.extend(other.servers);
        self.locals.extend(other.locals);
        self.peers.extend(other.peers);
        self
    }
}

impl Latency {
    /// Of a histogram of nanoseconds.
    pub(crate) fn of(nanoseconds: &Histogram<u64>) -> Self {
        let micros = |quantile| to_micros(nanoseconds.value_at_quantile(quantile));
        Self {
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            max: to_micros(nanoseconds.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 ns")]
fn to_micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}
