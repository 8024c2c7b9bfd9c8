//! The real binary in a network namespace of its own, with an agent that only says hello.
//! Needs root; says so and fails under CI otherwise.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its set-up too"
)]

use ambit_api::zds;
use ambit_net::Netns;
use ambit_net::fd_passing::{SeqListener, SeqPacket};
use prost::Message as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const BINARY: &str = env!("CARGO_BIN_EXE_ztunnel");

struct Proxy {
    name: String,
    netns: Netns,
    child: Option<Child>,
}

impl Proxy {
    fn start(test: &str, socket: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "network namespaces need root"
            );
            let _ = writeln!(std::io::stderr(), "not run: network namespaces need root");
            return None;
        }
        let name = format!("ambit-zp-{}-{test}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Netns::open(Path::new(&format!("/run/netns/{name}"))).unwrap();
        let mut proxy = Self {
            name,
            netns,
            child: None,
        };
        run(Command::new("ip").args(["-n", &proxy.name, "link", "set", "lo", "up"]));
        let child = Command::new("ip")
            .args(["netns", "exec", &proxy.name, BINARY])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("INPOD_UDS", socket)
            .env("XDS_ADDRESS", "")
            .env("ZTUNNEL_WORKER_THREADS", "2")
            .stdout(Stdio::null())
            .spawn();
        proxy.child = Some(child.unwrap());
        Some(proxy)
    }

    /// Body of an answer with this status.
    fn ask(&self, method: &str, port: u16, path: &str, status: u16) -> String {
        let connect = || TcpStream::connect(("127.0.0.1", port));
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match self.netns.enter(connect).unwrap() {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
            }
            std::thread::yield_now();
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn wait_until_ready_says(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ask("GET", 15021, "/healthz/ready", 500).contains(text) {
            assert!(Instant::now() < deadline, "readiness never says {text}");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn run(command: &mut Command) {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

/// Accepts the proxy and names no pods.
async fn agent_without_pods(listener: &SeqListener) -> SeqPacket {
    let proxy = listener.accept().await.unwrap();
    let mut buffer = [0; 256];
    let (len, _) = proxy.recv(&mut buffer).await.unwrap();
    let hello = zds::ZdsHello::decode(&buffer[..len]).unwrap();
    assert_eq!(hello.ambit.unwrap().workers, 2);
    let payload = zds::workload_request::Payload::SnapshotSent(zds::SnapshotSent {});
    let bytes = zds::WorkloadRequest {
        payload: Some(payload),
    }
    .encode_to_vec();
    proxy.send(&bytes, &[]).await.unwrap();
    proxy.recv(&mut buffer).await.unwrap();
    proxy
}

#[test]
fn serves_its_ports_and_drains_on_sigterm() {
    let directory = std::env::temp_dir().join(format!("ambit-zp-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("zds.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let listener = SeqListener::bind(&socket).unwrap();
    let Some(mut proxy) = Proxy::start("ports", &socket) else {
        return;
    };
    proxy.wait_until_ready_says("state, workload proxy manager");
    let session = runtime.block_on(agent_without_pods(&listener));
    proxy.wait_until_ready_says("waiting for state\n");

    let scrape = proxy.ask("GET", 15020, "/metrics", 200);
    let types: Vec<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    for expected in NAMES {
        assert!(types.contains(expected), "no {expected} in {types:#?}");
    }
    let dump: serde_json::Value =
        serde_json::from_str(&proxy.ask("GET", 15000, "/config_dump", 200)).unwrap();
    for list in ["workloads", "services", "policies", "certificates"] {
        assert!(dump[list].is_array(), "{list}: {dump}");
    }
    assert!(dump["workloadState"].is_object());
    assert_eq!(proxy.ask("GET", 15000, "/connections", 200), "[]");
    let levels = proxy.ask("POST", 15000, "/logging?level=access=debug", 200);
    assert_eq!(levels, "current log level is info,access=debug\n");
    proxy.ask("POST", 15000, "/logging?level=access=loud", 400);

    let mut child = proxy.child.take().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut buffer = [0; 16];
    let (len, _) = runtime.block_on(session.recv(&mut buffer)).unwrap();
    assert_eq!(len, 0, "the agent hears at once that the proxy drains");
    assert!(child.wait().unwrap().success());
    drop(listener);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn names_every_mistake_and_ends() {
    let output = Command::new(BINARY)
        .env_clear()
        .envs([
            ("PROXY_MODE", "dedicated"),
            ("SECRET_TTL", "soon"),
            ("LOCAL_XDS", "/xds"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for name in ["PROXY_MODE", "SECRET_TTL", "LOCAL_XDS"] {
        assert!(text.contains(name), "{text}");
    }
}

/// ztunnel's README and source, Istio standard metrics, Prometheus client conventions.
const NAMES: &[&str] = &[
    "istio_tcp_connections_opened_total counter",
    "istio_tcp_connections_closed_total counter",
    "istio_tcp_received_bytes_total counter",
    "istio_tcp_sent_bytes_total counter",
    "istio_tcp_connections_failed_total counter",
    "istio_xds_message_total counter",
    "istio_xds_message_bytes_total counter",
    "istio_xds_connection_terminations_total counter",
    "istio_build gauge",
    "workload_manager_active_proxy_count gauge",
    "workload_manager_pending_proxy_count gauge",
    "workload_manager_proxies_started_total counter",
    "workload_manager_proxies_stopped_total counter",
    "process_open_fds gauge",
    "process_max_fds gauge",
    "process_resident_memory_bytes gauge",
    "process_cpu_seconds_total counter",
    "ambit_log_dropped_total counter",
];
