//! Outbound: captured pod sockets in, HBONE streams or plain TCP out.
//! In: accepted connections of a pod's applications. Out: exactly one outcome per connection.
//! Owns: the worker's tunnels. Reads: the snapshot, once per decision. Never changes mesh state.
//! Spec: RFC 9113 section 8.5; Istio `baggage` and `forwarded` headers.

pub mod labels;

use crate::accept::Accepted;
use crate::dns;
use crate::flow::{self, Direction, Facts, Flow};
use crate::gather::{self, Own};
use crate::metrics::OnDemandLabels;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::relayed;
use crate::sockets::{DIAL_DEADLINE, captured_for, reset};
use crate::tunnels;
use crate::worker::Worker;
use ambit_model::ids::Generation;
use ambit_net::relay::TcpEndpoint;
use ambit_net::socket::DialSpec;
use ambit_routing::connection::outbound::{
    CapturedConn, Decision, Protocol, ResourceName, Upstream, decide,
};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// Serves one captured connection to its end.
pub async fn serve(worker: Rc<Worker>, pod: Arc<Pod>, accepted: Accepted) {
    let started = Instant::now();
    let Accepted { stream, peer } = accepted;
    let to = match captured_for(&pod, &stream) {
        Ok(to) => to,
        Err(failure) => {
            let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
            let facts = Facts::bare(Direction::Outbound, peer, unknown);
            flow::refused(&worker.books, &facts, started, &failure);
            return reset(&stream);
        }
    };
    if let Some(server) = nameserver(&worker, to) {
        return dns::server::serve_stream(&worker, &pod, stream, Some(server)).await;
    }
    let mut conn = Outgoing {
        facts: Facts::bare(Direction::Outbound, peer, to),
        worker,
        pod,
        started,
        original_dst: to,
    };
    match Box::pin(conn.connect()).await {
        Ok(joined) => conn.relay(stream, joined).await,
        Err(failure) => {
            flow::refused(&conn.worker.books, &conn.facts, started, &failure);
            // The application sees a reset, not an orderly end.
            reset(&stream);
        }
    }
}

/// One connection on its way.
struct Outgoing {
    worker: Rc<Worker>,
    pod: Arc<Pod>,
    facts: Facts,
    started: Instant,
    original_dst: SocketAddr,
}

/// The far end, and what it was decided by.
struct Joined {
    far: Far,
    generation: Generation,
}

enum Far {
    Tcp(TcpStream),
    Hbone(tunnels::Stream),
}

impl Outgoing {
    async fn connect(&mut self) -> Result<Joined, Failure> {
        let state = self.worker.shared.state.clone();
        let own = gather::own_workload(&state, &self.pod).await?;
        labels::source(&mut self.facts, &own.workload);
        let decision = self.decide(&own).await?;
        let far = match decision {
            Decision::Dial(upstream) => self.dial(&own, upstream).await?,
            Decision::PassThrough { to, service } => {
                labels::passthrough(&mut self.facts, service.as_deref());
                Far::Tcp(self.dial_tcp(to).await?)
            }
            Decision::Deny(denial) => return Err(Failure::Routing(denial)),
            Decision::Need(ResourceName::Hostname(hostname)) => {
                return Err(Failure::Unresolved { hostname });
            }
        };
        Ok(Joined {
            far,
            generation: own.snapshot.generation(),
        })
    }

    /// Decides, fetching what the decision lacks at most once per hostname.
    async fn decide(&self, own: &Own) -> Result<Decision, Failure> {
        // Of the pod, as the controller says: by another one nothing would be found, and passed by as foreign.
        let network = own.workload.network.clone();
        let mut conn = CapturedConn::new(own.workload.clone(), network, self.original_dst);
        loop {
            let decided = decide(&own.snapshot, &conn, &mut rand::rng());
            let Decision::Need(ResourceName::Hostname(hostname)) = &decided.decision else {
                if let Decision::Deny(_) = &decided.decision {
                    tracing::debug!(src.addr = %self.facts.source, trace = %decided.trace, "refused");
                }
                return Ok(decided.decision);
            };
            if conn.resolved.contains_key(hostname) {
                return Ok(decided.decision);
            }
            let addresses = self.resolve(own, hostname).await?;
            conn.resolved.insert(hostname.clone(), addresses);
        }
    }

    /// Addresses of an endpoint that has only a name.
    async fn resolve(&self, own: &Own, hostname: &Arc<str>) -> Result<Vec<IpAddr>, Failure> {
        let shared = &self.worker.shared;
        let labels = OnDemandLabels {
            hostname: hostname.clone(),
            source_canonical_service: own.workload.canonical.name.clone(),
            source_canonical_revision: own.workload.canonical.revision.clone(),
        };
        shared.metrics.dns.on_demand.get_or_create(&labels).inc();
        let servers = &shared.config.dns.nameservers;
        let ask = || dns::forward::resolve(&self.pod, servers, hostname);
        let asked = self.worker.names.resolve(hostname, ask);
        // Others that asked before may have used up their own time.
        let answer = tokio::time::timeout(gather::PATIENCE, asked).await;
        answer
            .unwrap_or_else(|_| Err(dns::forward::too_late(servers)))
            .map_err(|source| Failure::Resolve {
                hostname: hostname.clone(),
                source: source.into(),
            })
    }

    async fn dial(&mut self, own: &Own, upstream: Upstream) -> Result<Far, Failure> {
        labels::upstream(&mut self.facts, &upstream);
        match &upstream.protocol {
            Protocol::Tcp => Ok(Far::Tcp(self.dial_tcp(upstream.address).await?)),
            Protocol::Hbone {
                expected,
                authority,
            } => {
                let svid = self.worker.svid(&own.workload.identity).await?;
                let request = tunnels::StreamRequest {
                    own: &own.workload,
                    pod: &self.pod,
                    peer: upstream.address,
                    expected,
                    authority,
                    client: as_the_pod(self.facts.source, &own.workload.addresses),
                    service: upstream.service.as_ref().map(|s| &*s.key.hostname),
                };
                let opened = self.worker.tunnels.open(&svid, request).await?;
                labels::proved(&mut self.facts, &own.workload.identity, opened.peer);
                Ok(Far::Hbone(opened.stream))
            }
        }
    }

    async fn dial_tcp(&self, to: SocketAddr) -> Result<TcpStream, Failure> {
        let mut spec = DialSpec::new(to, DIAL_DEADLINE).within(&self.pod.netns);
        spec.keepalive = self.worker.shared.config.keepalive;
        spec.mark = Some(self.pod.mark);
        spec.dial().await.map_err(Failure::Dial)
    }

    async fn relay(self, near: TcpStream, joined: Joined) {
        let flow = Flow::open(&self.worker.books, self.facts, self.started);
        let place = self
            .worker
            .enter(flow.clone(), self.pod, None, joined.generation);
        let near = TcpEndpoint(near);
        let end = match joined.far {
            Far::Tcp(far) => relayed::run(near, TcpEndpoint(far), &flow, place).await,
            Far::Hbone(far) => relayed::run(near, far, &flow, place).await,
        };
        flow.close(&self.worker.books, end);
    }
}

/// A virtual machine or container inside the pod has an address of its own, which means nothing
/// outside: to peers and their policies it is the pod.
fn as_the_pod(source: SocketAddr, own: &[IpAddr]) -> SocketAddr {
    if own.contains(&source.ip()) {
        return source;
    }
    let alike = own.iter().find(|ip| ip.is_ipv4() == source.is_ipv4());
    let ip = alike.or(own.first()).copied();
    SocketAddr::new(ip.unwrap_or(source.ip()), source.port())
}

/// TCP queries to a nameserver the agent indexes are answered here, as UDP ones are.
fn nameserver(worker: &Worker, to: SocketAddr) -> Option<IpAddr> {
    let dns = &worker.shared.config.dns;
    (dns.enabled && to.port() == 53 && dns.nameservers.contains(&to.ip())).then_some(to.ip())
}

#[cfg(test)]
mod tests {
    use super::as_the_pod;
    use std::net::IpAddr;

    #[test]
    fn what_comes_from_inside_the_pod_comes_from_the_pod() {
        let ips =
            |all: &[&str]| -> Vec<IpAddr> { all.iter().map(|ip| ip.parse().unwrap()).collect() };
        let both = ["fd00::2", "10.0.0.2"];
        for (source, own, seen) in [
            ("10.0.0.2:40000", &both[..], "10.0.0.2:40000"),
            ("172.17.0.2:40000", &both, "10.0.0.2:40000"),
            ("[fd99::2]:40000", &both, "[fd00::2]:40000"),
            ("172.17.0.2:40000", &both[..1], "[fd00::2]:40000"),
            ("172.17.0.2:40000", &[], "172.17.0.2:40000"),
        ] {
            let found = as_the_pod(source.parse().unwrap(), &ips(own));
            assert_eq!(found.to_string(), seen, "{source} of {own:?}");
        }
    }
}
