//! What the sample's clients report.
//! In: the last line of `bookinfo client` and `bookinfo tcp`. Out: typed summaries.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// Of `bookinfo client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HttpSummary {
    /// Requests started
    pub requests: u64,
    /// Answers by status
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason
    pub errors: BTreeMap<String, u64>,
    /// Values of counted headers
    pub headers: BTreeMap<String, BTreeMap<String, u64>>,
    /// Connections made
    pub connections: u64,
    /// Bytes of all answer bodies
    pub body_bytes: u64,
    /// Body, if there was one request
    pub body: Option<String>,
}

impl HttpSummary {
    /// Answers with status 200.
    pub fn ok(&self) -> u64 {
        self.statuses.get(&200).copied().unwrap_or(0)
    }

    /// How often `header` had `value`.
    pub fn header(&self, header: &str, value: &str) -> u64 {
        self.headers
            .get(header)
            .and_then(|values| values.get(value))
            .copied()
            .unwrap_or(0)
    }
}

/// Of `bookinfo tcp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TcpSummary {
    /// Connections that were greeted
    pub connected: usize,
    /// Connections that went well to the end
    pub completed: usize,
    /// The others, by reason
    pub errors: BTreeMap<String, usize>,
    /// Greetings by server pod
    pub pods: BTreeMap<String, usize>,
    /// The server's address as it sees it
    pub locals: BTreeMap<SocketAddr, usize>,
    /// The client's address as the server sees it
    pub peers: BTreeMap<IpAddr, usize>,
    /// Who the client is, as a proxy told the server
    pub identities: BTreeMap<String, usize>,
    /// The service, as a proxy told the server
    pub services: BTreeMap<String, usize>,
    /// Messages on held connections
    pub messages: u64,
}
