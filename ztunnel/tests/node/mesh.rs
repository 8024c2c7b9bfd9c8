//! One proxy worker, a hand-fed mesh and an authority inside the process.

use ambit_api::{security, workload as pb};
use ambit_identity::store::StoreConfig;
use ambit_identity::{InProcessCa, SecretStore};
use ambit_model::convert;
use ambit_model::snapshot::{Change, Synced};
use ambit_net::Netns;
use ambit_runtime::drain::{self, Trigger};
use ambit_telemetry::access_log::AccessLog;
use ambit_telemetry::logging::{self, Format};
use ambit_telemetry::sink::Sink;
use ambit_ztunnel::config::Config;
use ambit_ztunnel::metrics::Metrics;
use ambit_ztunnel::pod::{Capture, Pod, PodIdentity, Role};
use ambit_ztunnel::state::State;
use ambit_ztunnel::thread::{self, WorkerHandle};
use ambit_ztunnel::worker::Shared;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

pub(crate) const CLIENT: &str = "10.9.0.1";
pub(crate) const SERVER: &str = "10.9.0.2";
pub(crate) const VIP: &str = "10.96.7.7:80";

/// What the proxy puts on its own sockets.
pub(crate) const MARK: u32 = 0x539;

const SERVICE: &str = "web.shop.svc.cluster.local";
const PATIENCE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(1);

/// The proxy under test.
pub(crate) struct Mesh {
    state: Arc<State>,
    worker: WorkerHandle,
    registry: Registry,
    log: Memory,
    runtime: tokio::runtime::Runtime,
    trigger: Trigger,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Mesh {
    pub(crate) fn start(policies: Vec<security::Authorization>) -> Self {
        // Access lines follow the levels of the process log, which is set once per process.
        static LOGGING: OnceLock<()> = OnceLock::new();
        LOGGING.get_or_init(|| {
            let sink = Sink::start(std::io::sink(), 1000).unwrap();
            logging::init(Format::Plain, "info", sink).unwrap();
        });
        let nameserver = BTreeMap::from([("AMBIT_NAMESERVERS".to_owned(), SERVER.to_owned())]);
        let config = Config::from_env(&nameserver).unwrap();
        let log = Memory::default();
        let sink = Sink::start(log.clone(), 1000).unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, sink.clone());
        let state = State::new(snapshot(policies));
        let authority = Arc::new(InProcessCa::new("test").unwrap());
        let (secrets, fetch) = SecretStore::new(authority, StoreConfig::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(fetch);
        let access_log = AccessLog::new(Format::Plain, sink);
        let shared = Arc::new(Shared {
            config,
            state: state.clone(),
            secrets,
            metrics,
            access_log,
        });
        let (trigger, watch) = drain::channel();
        let (worker, thread) = thread::start(0, shared, watch).unwrap();
        Self {
            state,
            worker,
            registry,
            log,
            runtime,
            trigger,
            thread: Some(thread),
        }
    }

    /// Serves the pod `shop/<name>` on these sockets, as the agent would ask.
    pub(crate) fn serve(&self, name: &str, netns: &Netns, sockets: Vec<(Role, OwnedFd)>) {
        let identity = PodIdentity {
            name: name.into(),
            namespace: "shop".into(),
            service_account: name.into(),
        };
        let netns = netns.try_clone().unwrap();
        let pod = Arc::new(Pod::new(
            name.into(),
            identity,
            netns,
            (Capture::Steered, MARK),
        ));
        self.runtime
            .block_on(self.worker.serve(pod, sockets))
            .unwrap();
    }

    pub(crate) fn add_policy(&self, policy: security::Authorization) {
        let change = Change::Policy(convert::authorization::from_proto(policy).unwrap());
        self.state.store(self.state.load().apply([change]));
    }

    /// Begins to end: live connections have a second.
    pub(crate) fn drain(&self) {
        self.trigger.start(GRACE);
    }

    /// Waits until the series with all of `labels` sum up to `expected`.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[&str], expected: u64) {
        let seen = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            text.lines()
                .filter(|line| line.starts_with(&format!("{name}{{")))
                .filter(|line| labels.iter().all(|label| line.contains(label)))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum::<u64>()
        };
        let what = || {
            format!(
                "{name} {labels:?} is {}, not {expected}; log:\n{}",
                seen(),
                self.text()
            )
        };
        wait_until(|| seen() == expected, what);
    }

    /// Waits for a log line with all of `parts`.
    pub(crate) fn wait_for_log(&self, parts: &[&str]) {
        let seen = || {
            self.text()
                .lines()
                .any(|line| parts.iter().all(|p| line.contains(p)))
        };
        wait_until(seen, || {
            format!("no line with {parts:?} in\n{}", self.text())
        });
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.log.0.lock().unwrap()).into_owned()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.trigger.start(GRACE);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the worker panicked"
            );
        }
    }
}

fn wait_until(mut condition: impl FnMut() -> bool, what: impl FnOnce() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", what());
        std::thread::yield_now();
    }
}

/// A policy that denies a service account of `shop` everything.
pub(crate) fn deny(account: &str) -> security::Authorization {
    policy(account, "deny", security::Action::Deny)
}

/// A policy that allows only a service account of `shop`.
pub(crate) fn allow_only(account: &str) -> security::Authorization {
    policy(account, "allow", security::Action::Allow)
}

fn policy(account: &str, verb: &str, action: security::Action) -> security::Authorization {
    let principal = format!("cluster.local/ns/shop/sa/{account}");
    let exact = security::string_match::MatchType::Exact(principal);
    let one = security::Match {
        principals: vec![security::StringMatch {
            match_type: Some(exact),
        }],
        ..Default::default()
    };
    security::Authorization {
        name: format!("{verb}-{account}"),
        namespace: "shop".into(),
        scope: security::Scope::Namespace as i32,
        action: action as i32,
        rules: vec![security::Rule {
            clauses: vec![security::Clause { matches: vec![one] }],
        }],
        ..Default::default()
    }
}

fn snapshot(policies: Vec<security::Authorization>) -> ambit_model::Snapshot {
    let vip: Ipv4Addr = VIP.split(':').next().unwrap().parse().unwrap();
    let port = pb::Port {
        service_port: 80,
        target_port: 8080,
        ..Default::default()
    };
    let service = pb::Service {
        name: "web".into(),
        namespace: "shop".into(),
        hostname: SERVICE.into(),
        addresses: vec![pb::NetworkAddress {
            address: vip.octets().to_vec(),
            ..Default::default()
        }],
        ports: vec![port],
        ..Default::default()
    };
    let mut server = pod("server", SERVER);
    let ports = pb::PortList { ports: vec![port] };
    server.services.insert(format!("shop/{SERVICE}"), ports);
    let policies = policies
        .into_iter()
        .map(|policy| Change::Policy(convert::authorization::from_proto(policy).unwrap()));
    let mesh = [
        Change::Workload(convert::workload::from_proto(pod("client", CLIENT)).unwrap()),
        Change::Workload(convert::workload::from_proto(server).unwrap()),
        Change::Service(convert::service::from_proto(service).unwrap()),
        Change::Synced(Synced {
            addresses: true,
            authorizations: true,
        }),
    ];
    ambit_model::Snapshot::default().apply(mesh.into_iter().chain(policies))
}

fn pod(name: &str, ip: &str) -> pb::Workload {
    let ip: Ipv4Addr = ip.parse().unwrap();
    pb::Workload {
        uid: format!("Kubernetes//Pod/shop/{name}"),
        name: name.into(),
        namespace: "shop".into(),
        addresses: vec![ip.octets().to_vec()],
        tunnel_protocol: pb::TunnelProtocol::Hbone as i32,
        service_account: name.into(),
        canonical_name: name.into(),
        canonical_revision: "v1".into(),
        workload_name: name.into(),
        ..Default::default()
    }
}
