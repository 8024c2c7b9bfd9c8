//! The record of one connection, from the moment its ends are known to its end.
//! In: facts, then bytes, then how it ended. Out: exactly one access-log line and one set of metrics.
//! `opened`, `closed` and bytes are counted under the flags known when it opened; `failed` under those
//! of the failure; a connection that never came to be counts all three under those of the failure.
//! Bytes of living connections are reported by the worker's tick.

use crate::metrics::RefusedLabels;
use crate::outcome::{Failure, Verdict};
use crate::pod::Role;
use ambit_model::workload::Workload;
use ambit_net::relay::Counters;
use ambit_telemetry::access_log::{AccessLog, Line, Severity, Value};
use ambit_telemetry::labels::{Reporter, TrafficLabels};
use ambit_telemetry::traffic::{TrafficCells, TrafficSeries};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Seen from the captured pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of it.
    Outbound,
    /// Into it.
    Inbound,
}

impl Direction {
    /// Of what arrives on a listener of this role.
    pub fn of(role: Role) -> Self {
        match role {
            Role::Outbound | Role::DnsUdp | Role::DnsTcp => Self::Outbound,
            Role::Inbound | Role::Hbone => Self::Inbound,
        }
    }

    /// Log and label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }

    /// Who reports such a connection.
    pub fn reporter(self) -> Reporter {
        match self {
            Self::Outbound => Reporter::Source,
            Self::Inbound => Reporter::Destination,
        }
    }
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which way.
    pub direction: Direction,
    /// The client.
    pub source: SocketAddr,
    /// Where the client wanted to go.
    pub original: SocketAddr,
    /// Where its TCP connection goes.
    pub destination: SocketAddr,
    /// Where its CONNECT goes (`dst.hbone_addr`).
    pub hbone: Option<String>,
    /// The client's workload.
    pub source_workload: Option<Arc<Workload>>,
    /// The server's workload.
    pub destination_workload: Option<Arc<Workload>>,
    /// Metric labels; the principals and the service of the log come from here too.
    pub labels: TrafficLabels,
}

impl Facts {
    /// Two addresses and nothing else.
    pub fn bare(direction: Direction, source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            direction,
            source,
            original: destination,
            destination,
            hbone: None,
            source_workload: None,
            destination_workload: None,
            labels: TrafficLabels::tcp(direction.reporter()),
        }
    }
}

/// Where connections of one worker are written down.
#[derive(Debug)]
pub struct Books {
    /// Counters by label set.
    pub traffic: TrafficSeries,
    /// Connections that were never joined.
    pub refused: Family<RefusedLabels, Counter>,
    /// One line per connection.
    pub access_log: AccessLog,
}

/// An established connection.
pub struct Flow {
    /// What is known of it.
    pub facts: Facts,
    /// Since when.
    pub started: Instant,
    /// Bytes so far; written by the relay.
    pub counters: Counters,
    reported: Cell<(u64, u64)>,
    cells: Arc<TrafficCells>,
}

impl Flow {
    /// Counts the connection as opened.
    pub fn open(books: &Books, facts: Facts, started: Instant) -> Rc<Self> {
        let cells = books.traffic.resolve(&facts.labels);
        cells.opened();
        let counters = Counters::default();
        let flow = Self {
            facts,
            started,
            counters,
            reported: Cell::default(),
            cells,
        };
        if AccessLog::wants(Severity::Debug) {
            flow.log(books, Severity::Debug, "connection opened", None);
        }
        Rc::new(flow)
    }

    /// Adds bytes that have not been reported yet to the metrics.
    pub fn report(&self) {
        let now = (self.counters.from_client(), self.counters.from_server());
        let before = self.reported.replace(now);
        self.cells.received(now.0.wrapping_sub(before.0));
        self.cells.sent(now.1.wrapping_sub(before.1));
    }

    /// The end: counts and logs.
    pub fn close(&self, books: &Books, end: Result<(), Failure>) {
        self.report();
        self.cells.closed();
        match end {
            Ok(()) => self.log(books, Severity::Info, "connection complete", None),
            Err(failure) => {
                let verdict = failure.verdict();
                let labels = self.facts.labels.with_flags(verdict.flags);
                books.traffic.resolve(&labels).failed();
                self.log(
                    books,
                    Severity::Error,
                    "connection complete",
                    Some((&failure, &verdict)),
                );
            }
        }
    }

    fn log(
        &self,
        books: &Books,
        severity: Severity,
        message: &str,
        failure: Option<(&Failure, &Verdict)>,
    ) {
        let bytes = (self.counters.from_client(), self.counters.from_server());
        let line = Entry {
            facts: &self.facts,
            bytes,
            started: self.started,
            failure,
        };
        line.write(&books.access_log, severity, message);
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// A connection that never came to be: all three counters and a line.
pub fn refused(books: &Books, facts: &Facts, started: Instant, failure: &Failure) {
    let verdict = failure.verdict();
    let cells = books
        .traffic
        .resolve(&facts.labels.with_flags(verdict.flags));
    cells.opened();
    cells.closed();
    cells.failed();
    books
        .refused
        .get_or_create(&RefusedLabels {
            direction: facts.direction.as_str(),
            reason: verdict.reason,
        })
        .inc();
    let early = facts.source_workload.is_none() && facts.destination_workload.is_none();
    let (severity, message) = if early {
        (Severity::Warn, "connection failed")
    } else {
        (Severity::Error, "connection complete")
    };
    let entry = Entry {
        facts,
        bytes: (0, 0),
        started,
        failure: Some((failure, &verdict)),
    };
    entry.write(&books.access_log, severity, message);
}

/// One line to be.
struct Entry<'a> {
    facts: &'a Facts,
    bytes: (u64, u64),
    started: Instant,
    failure: Option<(&'a Failure, &'a Verdict)>,
}

impl Entry<'_> {
    fn write(&self, log: &AccessLog, severity: Severity, message: &str) {
        if !AccessLog::wants(severity) {
            return;
        }
        let facts = self.facts;
        let millis = self.started.elapsed().as_millis();
        let duration = format_args!("{millis}ms");
        let error = self
            .failure
            .map(|(failure, _)| ambit_runtime::causes::causes(failure));
        let mut fields: Vec<(&str, Value<'_>)> = Vec::with_capacity(24);
        fields.push(("src.addr", Value::Bare(&facts.source)));
        end(&mut fields, &SOURCE, facts.source_workload.as_deref());
        if let Some(id) = &facts.labels.source.principal {
            fields.push(("src.identity", Value::Quoted(id)));
        }
        fields.push(("dst.addr", Value::Bare(&facts.destination)));
        if let Some(hbone) = &facts.hbone {
            fields.push(("dst.hbone_addr", Value::Bare(hbone)));
        }
        if !facts.labels.service.hostname.is_empty() {
            fields.push(("dst.service", Value::Text(&facts.labels.service.hostname)));
        }
        end(
            &mut fields,
            &DESTINATION,
            facts.destination_workload.as_deref(),
        );
        if let Some(id) = &facts.labels.destination.principal {
            fields.push(("dst.identity", Value::Quoted(id)));
        }
        fields.push(("direction", Value::Text(facts.direction.as_str())));
        // Sent and received as the logging side sees it, other than in the metrics.
        let (sent, received) = match facts.direction {
            Direction::Outbound => self.bytes,
            Direction::Inbound => (self.bytes.1, self.bytes.0),
        };
        fields.push(("bytes_sent", Value::Number(sent)));
        fields.push(("bytes_recv", Value::Number(received)));
        fields.push(("duration", Value::Quoted(&duration)));
        let policy = self.failure.and_then(|(failure, _)| failure.policy());
        if let Some(error) = &error {
            fields.push(("error", Value::Text(error)));
        }
        if let Some((policy, rule)) = &policy {
            fields.push(("policy", Value::Quoted(policy)));
            if let Some(rule) = rule {
                fields.push(("rule", Value::Number(*rule as u64)));
            }
        }
        log.write(&Line {
            severity,
            message,
            fields: &fields,
        });
    }
}

struct EndNames {
    workload: &'static str,
    namespace: &'static str,
    cluster: &'static str,
}

const SOURCE: EndNames = EndNames {
    workload: "src.workload",
    namespace: "src.namespace",
    cluster: "src.cluster",
};
const DESTINATION: EndNames = EndNames {
    workload: "dst.workload",
    namespace: "dst.namespace",
    cluster: "dst.cluster",
};

fn end<'a>(
    fields: &mut Vec<(&'a str, Value<'a>)>,
    names: &EndNames,
    workload: Option<&'a Workload>,
) {
    let Some(workload) = workload else { return };
    fields.push((names.workload, Value::Text(&workload.name)));
    fields.push((names.namespace, Value::Text(&workload.namespace)));
    fields.push((names.cluster, Value::Text(&workload.cluster_id)));
}
