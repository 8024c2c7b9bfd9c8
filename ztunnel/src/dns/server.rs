//! Serves a pod's DNS queries.
//! In: datagrams and streams on the pod's listeners. Out: answers from the address that was asked.
//! The local address tells the nameserver: 127.53.0.`i` is the `i`-th, counted from 1.
//! Bounds: 256 queries in progress per pod and worker, more are dropped and counted; a stream may
//! idle for 5 s.

use super::forward::{self, ForwardError};
use super::lookup::{self, Asker, Family};
use super::message::{Question, Transport};
use crate::accept::{Accepted, Stop};
use crate::gather;
use crate::metrics::DnsLabels;
use crate::pod::Pod;
use crate::worker::Worker;
use ambit_net::original_dst;
use ambit_net::socket::{recv_datagram, send_datagram};
use hickory_proto::rr::RecordType;
use rand::seq::SliceRandom;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Serves datagrams until `stop`.
pub async fn serve_udp(worker: Rc<Worker>, pod: Arc<Pod>, socket: Rc<UdpSocket>, mut stop: Stop) {
    let mut queries = JoinSet::new();
    let mut buffer = vec![0; MOST_QUERY];
    loop {
        let datagram = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = queries.join_next() => continue,
            received = recv_datagram(&socket, &mut buffer) => received,
        };
        let datagram = match datagram {
            Ok(datagram) => datagram,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) => {
                // An ICMP error of an earlier answer comes up here too; the socket goes on.
                tracing::debug!(%error, "dns socket");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if queries.len() >= MOST_IN_PROGRESS {
            worker.shared.metrics.dns.dropped.inc();
            continue;
        }
        let bytes = buffer[..datagram.len].to_vec();
        let (worker, pod, socket) = (worker.clone(), pod.clone(), socket.clone());
        queries.spawn_local(async move {
            let server = nameserver(&worker.shared.config.dns.nameservers, datagram.local);
            let answer = answer(&worker, &pod, &bytes, (server, Transport::Udp)).await;
            if let Some(answer) = answer
                && let Err(error) =
                    send_datagram(&socket, &answer, datagram.peer, datagram.local).await
            {
                tracing::debug!(%error, "dns answer not sent");
            }
        });
    }
    while queries.join_next().await.is_some() {}
}

/// Serves one stream on the DNS listener.
pub async fn serve_tcp(worker: Rc<Worker>, pod: Arc<Pod>, accepted: Accepted) {
    let Ok(local) = original_dst::local(&accepted.stream) else {
        return;
    };
    let server = nameserver(&worker.shared.config.dns.nameservers, local.ip());
    serve_stream(&worker, &pod, accepted.stream, server).await;
}

/// Answers queries on a stream until it ends or idles; `server` is asked what the mesh does not know.
pub async fn serve_stream(
    worker: &Worker,
    pod: &Arc<Pod>,
    mut stream: TcpStream,
    server: Option<IpAddr>,
) {
    while let Ok(Ok(query)) = tokio::time::timeout(IDLE, forward::read_framed(&mut stream)).await {
        let Some(answer) = answer(worker, pod, &query, (server, Transport::Tcp)).await else {
            return;
        };
        let written = tokio::time::timeout(IDLE, forward::write_framed(&mut stream, &answer)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// The answer to one query; `None` for bytes that are no query.
async fn answer(
    worker: &Worker,
    pod: &Arc<Pod>,
    bytes: &[u8],
    (server, transport): (Option<IpAddr>, Transport),
) -> Option<Vec<u8>> {
    let question = Question::decode(bytes)?;
    let Ok(own) = gather::own_workload(&worker.shared.state, pod).await else {
        return question.server_failure();
    };
    let labels = DnsLabels {
        request_query_type: question.kind().to_string(),
        request_protocol: transport.as_str(),
        source_canonical_service: own.workload.canonical.name.clone(),
        source_canonical_revision: own.workload.canonical.revision.clone(),
    };
    let dns = &worker.shared.metrics.dns;
    dns.requests.get_or_create(&labels).inc();
    let family = match question.kind() {
        RecordType::A => Some(Family::V4),
        RecordType::AAAA => Some(Family::V6),
        _ => None,
    };
    let config = &worker.shared.config;
    if let Some(family) = family.filter(|_| config.dns.enabled) {
        let asker = Asker {
            workload: &own.workload,
            domain: &config.node.cluster_domain,
            ipv6: config.ipv6,
        };
        if let Some(mut found) = lookup::lookup(&own.snapshot, &asker, &question.name(), family) {
            found.addresses.shuffle(&mut rand::rng());
            return question.answer(&found, transport);
        }
    }
    dns.upstream.get_or_create(&labels).inc();
    let asked = Instant::now();
    let answer = match server {
        Some(server) => forward::forward(pod, server, (&question, bytes), transport).await,
        None => Err(ForwardError::NoServer),
    };
    dns.duration
        .get_or_create(&labels)
        .observe(asked.elapsed().as_secs_f64());
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            dns.failures.get_or_create(&labels).inc();
            tracing::debug!(
                name = question.name(),
                error = ambit_runtime::causes::causes(&error),
                "dns query failed upstream"
            );
            question.server_failure()
        }
    }
}

/// Which nameserver the pod meant; the first one where the address does not say.
fn nameserver(servers: &[IpAddr], asked: IpAddr) -> Option<IpAddr> {
    if let IpAddr::V4(ip) = asked
        && let [127, 53, high, low] = ip.octets()
    {
        let index = usize::from(u16::from_be_bytes([high, low]));
        return servers.get(index.checked_sub(1)?).copied();
    }
    servers.first().copied()
}

const MOST_IN_PROGRESS: usize = 256;
const MOST_QUERY: usize = 4096;
/// After an error of the socket that may come again at once.
const PAUSE: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_asked_tells_the_nameserver() {
        let servers: Vec<IpAddr> = ["10.96.0.10", "10.96.0.11"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect();
        let cases = [
            ("127.53.0.1", Some("10.96.0.10")),
            ("127.53.0.2", Some("10.96.0.11")),
            ("127.53.0.3", None),
            ("127.53.0.0", None),
            ("127.0.0.1", Some("10.96.0.10")),
        ];
        for (asked, expected) in cases {
            let got = nameserver(&servers, asked.parse().unwrap()).map(|ip| ip.to_string());
            assert_eq!(got.as_deref(), expected, "{asked}");
        }
    }
}
