//! What is compared with what. Pure.
//! Contenders are ways from an application to another; measures are loads; figures are numbers of one
//! measurement.

use std::fmt;

use serde::Serialize;

/// A way from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// Pods outside the mesh
    NoMesh,
    /// Two bare relays
    Plain,
    /// Two bare relays with records between them
    Sealed,
    /// Pods in the mesh
    Ambit,
    /// The hop within a pod without capture
    Loopback,
    /// The hop within a pod with capture
    Captured,
}

impl Contender {
    /// All, in the order of columns.
    pub(crate) const ALL: [Self; 6] = [
        Self::NoMesh,
        Self::Plain,
        Self::Sealed,
        Self::Ambit,
        Self::Loopback,
        Self::Captured,
    ];

    /// Title of its column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NoMesh => "no mesh",
            Self::Plain => "plain floor",
            Self::Sealed => "sealed floor",
            Self::Ambit => "Ambit",
            Self::Loopback => "loopback",
            Self::Captured => "captured",
        }
    }
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// One stream, as fast as it goes
    #[value(name = "bulk1")]
    Bulk1,
    /// Four of them
    #[value(name = "bulk4")]
    Bulk4,
    /// 32 keep-alive connections, closed loop
    Requests,
    /// 1000 requests per second, open loop
    Paced,
    /// One request per connection
    Connect,
    /// Idle connections
    Idle,
    /// Connections per second within the pod
    HopConnect,
    /// 64-byte round trips within the pod
    HopRoundTrip,
}

/// Connections of [`Measure::Requests`].
pub(crate) const KEEP_ALIVE: usize = 32;
/// Requests per second of [`Measure::Paced`].
pub(crate) const RATE: u32 = 1000;
/// Connections at a time of [`Measure::Connect`].
pub(crate) const CONNECTING: usize = 8;

impl Measure {
    /// All, in the order of rows.
    pub(crate) const ALL: [Self; 8] = [
        Self::Bulk1,
        Self::Bulk4,
        Self::Requests,
        Self::Paced,
        Self::Connect,
        Self::Idle,
        Self::HopConnect,
        Self::HopRoundTrip,
    ];

    /// Who is measured by it.
    pub(crate) fn contenders(self) -> &'static [Contender] {
        use Contender::{Ambit, Captured, Loopback, NoMesh, Plain, Sealed};
        match self {
            Self::HopConnect | Self::HopRoundTrip => &[Loopback, Captured],
            // Without proxies there is no memory of theirs.
            Self::Idle => &[Plain, Sealed, Ambit],
            _ => &[NoMesh, Plain, Sealed, Ambit],
        }
    }

    /// Whether it is of the hop within a pod.
    pub(crate) fn is_hop(self) -> bool {
        matches!(self, Self::HopConnect | Self::HopRoundTrip)
    }

    /// Into how many turns a round is cut. A hop needs so little time that one turn would mostly tell what
    /// else the machine did then.
    pub(crate) fn parts(self) -> u32 {
        if self.is_hop() { 8 } else { 1 }
    }

    /// The floor that Ambit's cost is held against.
    pub(crate) fn floor(self) -> Contender {
        match self {
            Self::Bulk1 | Self::Bulk4 => Contender::Sealed,
            Self::HopConnect | Self::HopRoundTrip => Contender::Loopback,
            _ => Contender::Plain,
        }
    }

    /// Title of its rows.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bulk1 => "bulk, 1 stream",
            Self::Bulk4 => "bulk, 4 streams",
            Self::Requests => "32 keep-alive connections",
            Self::Paced => "1000 requests/s",
            Self::Connect => "new connections",
            Self::Idle => "idle connections",
            Self::HopConnect => "hop: new connections",
            Self::HopRoundTrip => "hop: 64-byte round trips",
        }
    }

    /// Unit of its rate.
    pub(crate) fn rate_unit(self) -> &'static str {
        match self {
            Self::Bulk1 | Self::Bulk4 => "Gbit/s",
            Self::Requests | Self::Paced => "requests/s",
            Self::Connect | Self::HopConnect => "connections/s",
            Self::HopRoundTrip => "round trips/s",
            Self::Idle => "connections",
        }
    }

    /// Unit of the proxies' work.
    pub(crate) fn cost_unit(self) -> &'static str {
        match self {
            Self::Bulk1 | Self::Bulk4 => "CPU-s/GB",
            Self::Requests | Self::Paced => "CPU-s/1000 requests",
            _ => "CPU-s/1000 connections",
        }
    }
}

/// A number of one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// Work done per second
    Rate,
    /// CPU time of both proxies for a fixed amount of work
    Cpu,
    /// Median latency, microseconds
    P50,
    /// 99th percentile
    P99,
    /// 99.9th percentile
    P999,
    /// Memory of both proxies per connection, KiB
    Memory,
    /// Memory of both proxies before, MiB
    Start,
}

impl Figure {
    /// All, in the order of rows.
    pub(crate) const ALL: [Self; 7] = [
        Self::Rate,
        Self::Cpu,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Memory,
        Self::Start,
    ];

    /// Its unit within a measure.
    pub(crate) fn unit(self, measure: Measure) -> &'static str {
        match self {
            Self::Rate => measure.rate_unit(),
            Self::Cpu => measure.cost_unit(),
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P999 => "p99.9 µs",
            Self::Memory => "KiB/connection",
            Self::Start => "MiB at start",
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}
