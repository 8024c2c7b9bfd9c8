//! One waypoint, its configuration and its surroundings.

use crate::backend::Backend;
use crate::client::Client;
use ambit_api::{route as pb, type_urls, workload as wl};
use ambit_identity::store::StoreConfig;
use ambit_identity::{InProcessCa, Lease, Priority, SecretStore, Svid};
use ambit_model::ids::{ServiceKey, SpiffeId};
use ambit_runtime::drain;
use ambit_runtime::readiness::Readiness;
use ambit_telemetry::access_log::AccessLog;
use ambit_telemetry::logging::Format;
use ambit_telemetry::sink::Sink;
use ambit_waypoint::limits::Limits;
use ambit_waypoint::listen;
use ambit_waypoint::me::Me;
use ambit_waypoint::metrics::Metrics;
use ambit_waypoint::state::{State, Update, Writer};
use ambit_waypoint::worker::Parts;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use prost::Message;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::LocalSet;

pub(crate) const VIP: &str = "10.96.0.1";
pub(crate) const SERVICE: &str = "shop/web.shop.svc.cluster.local";
/// Time for the head of a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Time without requests.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Time between PINGs.
const PING: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A running waypoint.
pub(crate) struct Mesh {
    pub(crate) ca: Arc<InProcessCa>,
    pub(crate) address: SocketAddr,
    pub(crate) trigger: drain::Trigger,
    /// Backends that name us as the waypoint of their pods.
    pub(crate) waypoint_of: Vec<String>,
    /// Ports that the gateway takes plaintext on.
    pub(crate) listeners: Vec<u32>,
    registry: Registry,
    writer: Writer,
    log: Log,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    _store: tokio::task::JoinHandle<()>,
}

/// Access lines, as written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `test` with everything local to one thread, as a worker would.
pub(crate) fn local<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let _ = tracing_subscriber_for_access_lines();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), test())
            .await
            .expect("the test must end");
    });
}

/// Access lines follow the level of the log target; without a subscriber none are wanted.
fn tracing_subscriber_for_access_lines() -> Result<(), ambit_telemetry::logging::LoggingError> {
    let sink = Sink::start(std::io::sink(), 16).unwrap();
    ambit_telemetry::logging::init(Format::Plain, "access=info", sink).map(|_| ())
}

pub(crate) fn id(account: &str) -> SpiffeId {
    SpiffeId::new("cluster.local", "shop", account)
}

impl Mesh {
    /// A waypoint that knows of itself alone.
    pub(crate) async fn start() -> Self {
        let ca = Arc::new(InProcessCa::new("test").unwrap());
        let (store, serve) = SecretStore::new(ca.clone(), StoreConfig::default());
        let store_task = tokio::task::spawn_local(serve);
        let lease = store.lease(&id("waypoint"), Priority::OnDemand);
        lease.svid(Duration::from_secs(10)).await.unwrap();
        let mut mesh = Self::with(ca, (store, lease), store_task);
        mesh.gateway(vec![]);
        mesh
    }

    fn with(
        ca: Arc<InProcessCa>,
        (secrets, lease): (SecretStore, Lease),
        store: tokio::task::JoinHandle<()>,
    ) -> Self {
        let (state, writer) = State::new("shop/waypoint");
        let (trigger, watch) = drain::channel();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let log = Log::default();
        let sink = Sink::start(log.clone(), 10_000).unwrap();
        let me = Me {
            identity: id("waypoint"),
            gateway: "shop/waypoint".into(),
            service: ServiceKey::new("shop", "waypoint.shop.svc.cluster.local"),
            namespace: "shop".into(),
            network: "".into(),
            ip: None,
            baggage: None,
            log_format: Format::Plain,
        };
        let parts = Parts {
            me: Arc::new(me),
            limits: Limits {
                head: HEAD_TIMEOUT,
                idle: IDLE_TIMEOUT,
                ping: PING,
                pong: PING * 5,
                ..Limits::default()
            },
            state,
            lease,
            secrets,
            series: metrics.worker(),
            access_log: AccessLog::new(Format::Plain, sink),
            leaving: watch.clone(),
            drain: watch,
            any: Ipv4Addr::LOCALHOST.into(),
            arrivals: ambit_waypoint::leaving::Arrivals::default(),
            listening: Readiness::new().gate("listeners"),
            seed: 42,
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || listen::run(parts, listener));
        Self {
            ca,
            address,
            trigger,
            waypoint_of: Vec::new(),
            listeners: Vec::new(),
            registry,
            writer,
            log,
            thread: Some(thread),
            _store: store,
        }
    }

    pub(crate) async fn svid(&self, account: &str) -> Arc<Svid> {
        Arc::new(self.ca.svid(&id(account), DAY).await.unwrap())
    }

    /// A client of account `client`, at 127.0.0.1.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.svid("client").await, self.address)
    }

    pub(crate) fn feed(&mut self, type_url: &str, resources: Vec<(String, Bytes)>) {
        let update = Update {
            type_url: type_url.into(),
            resources,
            removed: vec![],
            first: true,
        };
        assert_eq!(self.writer.update(&update), vec![]);
    }

    /// The service `web` at [`VIP`], the client's workload and one cluster per backend, named `c0`,
    /// `c1`, …; `routes` are its routes on port 80.
    pub(crate) fn configure(&mut self, backends: &[&Backend], routes: Vec<pb::HttpRoute>) {
        let members: Vec<_> = backends.iter().map(|b| vec![*b]).collect();
        self.configure_clusters(&members, routes);
    }

    /// The same with several backends per cluster.
    pub(crate) fn configure_clusters(
        &mut self,
        clusters: &[Vec<&Backend>],
        routes: Vec<pb::HttpRoute>,
    ) {
        self.addresses(clusters);
        self.clusters(clusters);
        self.router(pb::Router {
            http: routes,
            ..base_router(80)
        });
    }

    /// What the gateway demands of everything.
    pub(crate) fn gateway(&mut self, policies: Vec<pb::AccessPolicy>) {
        self.demands(pb::Gateway {
            policies,
            ports: self.listeners.clone(),
            ..Default::default()
        });
    }

    /// All that the gateway demands.
    pub(crate) fn demands(&mut self, gateway: pb::Gateway) {
        let name = "shop/waypoint".to_owned();
        let gateway = pb::Gateway {
            name: name.clone(),
            ..gateway
        };
        let body = gateway.encode_to_vec().into();
        self.feed(type_urls::GATEWAY, vec![(name, body)]);
    }

    /// Takes that away again.
    pub(crate) fn forget_gateway(&mut self) {
        let update = Update {
            type_url: type_urls::GATEWAY.into(),
            removed: vec!["shop/waypoint".into()],
            ..Update::default()
        };
        assert_eq!(self.writer.update(&update), vec![]);
    }

    pub(crate) fn router(&mut self, router: pb::Router) {
        let addressed = match router.hostname.as_str() {
            "" => SERVICE.to_owned(),
            host => format!("listener/{host}"),
        };
        let name = format!("shop/waypoint/{addressed}/{}", router.port);
        self.feed(
            type_urls::ROUTER,
            vec![(name, router.encode_to_vec().into())],
        );
    }

    pub(crate) fn addresses(&mut self, clusters: &[Vec<&Backend>]) {
        let service = wl::Service {
            name: "web".into(),
            namespace: "shop".into(),
            hostname: "web.shop.svc.cluster.local".into(),
            addresses: vec![wl::NetworkAddress {
                address: octets(VIP),
                ..Default::default()
            }],
            ports: [80, 81]
                .map(|service_port| wl::Port {
                    service_port,
                    target_port: 8080,
                    app_protocol: 0,
                })
                .into(),
            ..Default::default()
        };
        let client = wl::Workload {
            canonical_name: "client".into(),
            canonical_revision: "v1".into(),
            ..workload("client", "127.0.0.1")
        };
        let mut all = vec![
            address(SERVICE.into(), wl::address::Type::Service(service)),
            address(client.uid.clone(), wl::address::Type::Workload(client)),
        ];
        for backend in clusters.iter().flatten() {
            let message = wl::Workload {
                tunnel_protocol: i32::from(backend.tunnel),
                waypoint: self.waypoint_of.contains(&backend.name).then(waypoint),
                ..workload(&backend.name, &backend.address.ip().to_string())
            };
            all.push(address(
                message.uid.clone(),
                wl::address::Type::Workload(message),
            ));
        }
        self.feed(type_urls::ADDRESS, all);
    }

    pub(crate) fn clusters(&mut self, clusters: &[Vec<&Backend>]) {
        let mut described = vec![];
        let mut members = vec![];
        for (i, backends) in clusters.iter().enumerate() {
            let name = format!("c{i}");
            let cluster = pb::Cluster {
                name: name.clone(),
                service: SERVICE.into(),
                port: 80,
                protocol: backends.first().map_or(0, |b| b.protocol as i32),
                connect_timeout_ms: 2_000,
                ..Default::default()
            };
            described.push((name.clone(), cluster.encode_to_vec().into()));
            let endpoints = backends
                .iter()
                .map(|b| pb::Endpoint {
                    workload_uid: uid(&b.name),
                    target_port: b.address.port().into(),
                    weight: 1,
                })
                .collect();
            let message = pb::Endpoints {
                cluster: name.clone(),
                endpoints,
                gateways: vec![],
            };
            members.push((name, message.encode_to_vec().into()));
        }
        self.feed(type_urls::CLUSTER, described);
        self.feed(type_urls::ENDPOINTS, members);
    }

    /// The scrape.
    pub(crate) fn scrape(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Waits until some line of the scrape contains all of these.
    pub(crate) async fn series(&self, parts: &[&str]) -> String {
        loop {
            let text = self.scrape();
            if let Some(line) = text.lines().find(|l| parts.iter().all(|p| l.contains(p))) {
                return line.to_owned();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until some access line contains all of these.
    pub(crate) async fn line(&self, parts: &[&str]) -> String {
        loop {
            let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
            if let Some(line) = text.lines().find(|l| parts.iter().all(|p| l.contains(p))) {
                return line.to_owned();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the worker to end after a drain.
    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.trigger.start(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            // A panic there is reported by the harness already.
            let _ = thread.join();
        }
    }
}

pub(crate) fn base_router(port: u32) -> pb::Router {
    pb::Router {
        gateway: "shop/waypoint".into(),
        service: SERVICE.into(),
        port,
        ..Default::default()
    }
}

pub(crate) fn uid(name: &str) -> String {
    format!("Kubernetes//Pod/shop/{name}")
}

fn waypoint() -> wl::GatewayAddress {
    let hostname = wl::NamespacedHostname {
        namespace: "shop".into(),
        hostname: "waypoint.shop.svc.cluster.local".into(),
    };
    wl::GatewayAddress {
        destination: Some(wl::gateway_address::Destination::Hostname(hostname)),
        hbone_mtls_port: 15008,
    }
}

fn workload(name: &str, ip: &str) -> wl::Workload {
    wl::Workload {
        uid: uid(name),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        workload_name: name.into(),
        addresses: vec![octets(ip)],
        ..Default::default()
    }
}

fn address(name: String, kind: wl::address::Type) -> (String, Bytes) {
    (
        name,
        wl::Address { r#type: Some(kind) }.encode_to_vec().into(),
    )
}

fn octets(ip: &str) -> Vec<u8> {
    match ip.parse().unwrap() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A loopback address nobody else of this machine is likely to use.
pub(crate) fn fresh_ip() -> Ipv4Addr {
    thread_local! { static NEXT: Cell<u32> = Cell::new(rand::random()) }
    NEXT.set(
        NEXT.get()
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223),
    );
    let [_, a, b, c] = NEXT.get().to_be_bytes();
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}
