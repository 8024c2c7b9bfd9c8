//! One node: a namespace, a cgroup, a bpffs, a source directory and the agent; pods on veth pairs.
#![allow(dead_code, reason = "each test uses a part of it")]

mod pod;

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ambit_ebpf_loader::{Capture, CaptureConfig, PodOptions, Slot, cgroup2_mount};
use ambit_net::Netns;
use ambit_net::netlink::Netlink;
use ambit_net::socket::{DialSpec, ListenSpec};
use ambit_runtime::causes::causes;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::sleep;

use pod::ip;
pub(crate) use pod::{App, Pod};

/// The pod's address.
pub(crate) const POD_IP: &str = "10.244.1.5";
/// An address nobody has.
pub(crate) const VIP: &str = "10.96.0.1:80";
const NODE_IP: &str = "10.244.1.1";

pub(crate) struct Node {
    dir: tempfile::TempDir,
    cgroup: PathBuf,
    netns: Netns,
    agent: Option<Child>,
}

impl Node {
    /// `None`, with a message, when the test may not make namespaces.
    pub(crate) async fn start() -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("cannot run: needs root for namespaces, cgroups and eBPF");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = cgroup2_mount()
            .unwrap()
            .join(format!("ambit-agent-test-{}-{number}", std::process::id()));
        for part in ["proxy", "pods"] {
            fs::create_dir_all(cgroup.join(part)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        for part in ["bpf", "source", "run"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let bpf = dir.path().join("bpf");
        mount(
            Some("bpf"),
            &bpf,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let netns = Netns::make().unwrap();
        Netlink::open(&netns).unwrap().link_up("lo").await.unwrap();
        let mut node = Self {
            dir,
            cgroup,
            netns,
            agent: None,
        };
        node.start_agent().await;
        node.until_ready().await;
        Some(node)
    }

    /// Starts the agent and waits until it shows its pods. It may have to wait for a proxy to be ready.
    pub(crate) async fn start_agent(&mut self) {
        let path = |part: &str| self.dir.path().join(part);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(path("agent.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ambit-agent"));
        command
            .env_clear()
            .arg("--node-name=node-1")
            .arg(format!("--source-dir={}", path("source").display()))
            .arg(format!("--cgroup-root={}", self.cgroup.display()))
            .arg(format!("--pin-root={}", path("bpf/ambit").display()))
            .arg(format!(
                "--proxy-cgroup={}",
                self.cgroup.join("proxy").display()
            ))
            .arg(format!(
                "--kubepods-cgroup={}",
                self.cgroup.join("pods").display()
            ))
            .arg(format!("--node-netns={}", ns_path(&self.netns).display()))
            .arg(format!("--run-dir={}", path("run").display()))
            .arg(format!("--zds-socket={}", self.zds_socket().display()))
            .arg(format!("--cni-socket={}", path("cni.sock").display()))
            .args([
                "--metrics-addr=127.0.0.1:15014",
                "--ready-addr=127.0.0.1:8000",
            ])
            .args([
                "--nameservers=10.96.0.10",
                "--log=debug,aya=info,aya_obj=info",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(self.netns.enter(|| command.spawn()).unwrap().unwrap());
        self.until_answered("127.0.0.1:15014", "/debug/pods").await;
    }

    /// Waits until the agent says that it is ready.
    pub(crate) async fn until_ready(&mut self) {
        self.until_answered("127.0.0.1:8000", "/readyz").await;
    }

    /// What the agent says on its readiness port: 200, or why not.
    pub(crate) async fn readiness(&self) -> String {
        let answer = self.get("127.0.0.1:8000", "/ready").await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn until_answered(&mut self, addr: &str, path: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self
            .get(addr, path)
            .await
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            if let Some(status) = self.agent.as_mut().unwrap().try_wait().unwrap() {
                panic!("the agent ended: {status}\n{}", self.log());
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "no answer from {addr}{path}\n{}",
                self.log()
            );
            sleep(POLL).await;
        }
    }

    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    pub(crate) fn zds_socket(&self) -> PathBuf {
        self.dir.path().join("zds.sock")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    fn write(&self, file: &str, object: &Value) {
        let dir = self.dir.path().join("source");
        let staging = dir.join(format!(".{file}.new"));
        fs::write(&staging, object.to_string()).unwrap();
        fs::rename(&staging, dir.join(file)).unwrap();
    }

    /// Namespace `shop`, in the mesh or not.
    pub(crate) fn namespace(&self, enrolled: bool) {
        let labels = if enrolled {
            json!({"istio.io/dataplane-mode": "ambient"})
        } else {
            json!({})
        };
        self.write(
            "namespace.yaml",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}),
        );
    }

    /// A pod of namespace `shop` with its sandbox; the CNI plugin has not been called.
    pub(crate) fn pod(&mut self, name: &str) -> Pod {
        self.write(
            &format!("pod-{name}.yaml"),
            &json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
                "spec": {
                    "nodeName": "node-1", "serviceAccountName": "web-account",
                    "containers": [{"name": "main", "image": "none"}],
                },
            }),
        );
        let pod = self.sandbox(name);
        let veth = format!("veth-{name}");
        let pod_ns = ns_path(&pod.netns);
        self.ip(&[
            "link",
            "add",
            &veth,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &text(&pod_ns),
        ]);
        self.ip(&["addr", "add", &format!("{NODE_IP}/24"), "dev", &veth]);
        self.ip(&["link", "set", &veth, "up"]);
        ip(
            &pod.netns,
            &["addr", "add", &format!("{POD_IP}/24"), "dev", "eth0"],
        );
        ip(&pod.netns, &["link", "set", "eth0", "up"]);
        ip(&pod.netns, &["route", "add", "default", "via", NODE_IP]);
        pod
    }

    /// An empty sandbox without an object.
    pub(crate) fn sandbox(&self, name: &str) -> Pod {
        Pod {
            name: name.into(),
            netns: Netns::make().unwrap(),
        }
    }

    fn ip(&self, args: &[&str]) {
        ip(&self.netns, args);
    }

    /// One request as the plugin makes it; status and body.
    pub(crate) async fn cni(&self, command: &str, pod: &Pod) -> (u16, String) {
        let body = json!({
            "containerId": format!("sandbox-{}", pod.name),
            "netns": ns_path(&pod.netns),
            "namespace": "shop",
            "name": pod.name,
            "uid": format!("uid-{}", pod.name),
            "ips": [POD_IP],
        })
        .to_string();
        let mut stream = UnixStream::connect(self.dir.path().join("cni.sock"))
            .await
            .unwrap();
        let request = format!(
            "POST /cni/{command} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (
            status,
            format!(
                "{body}\n{}",
                if status == 200 {
                    String::new()
                } else {
                    self.log()
                }
            ),
        )
    }

    /// The redirection annotation the agent wrote.
    pub(crate) fn annotation(&self, pod: &str) -> Option<String> {
        let path = self
            .dir
            .path()
            .join(format!("source/.status/agent-node-1/pods/shop/{pod}.yaml"));
        let text = fs::read_to_string(path).ok()?;
        let line = text
            .lines()
            .find(|line| line.contains("ambient.istio.io/redirection"))?;
        Some(line.rsplit_once(':')?.1.trim().trim_matches('"').to_owned())
    }

    pub(crate) fn steer_pins(&self) -> Vec<PathBuf> {
        let root = self.dir.path().join("bpf/ambit");
        let versions = fs::read_dir(root).unwrap();
        versions
            .filter_map(|version| fs::read_dir(version.unwrap().path().join("steer")).ok())
            .flatten()
            .map(|pin| pin.unwrap().path())
            .collect()
    }

    pub(crate) async fn until_steer_pins(&self, count: usize) {
        self.until("steer pins", |_| self.steer_pins().len() == count)
            .await;
    }

    /// Waits until the agent's debug page fits.
    pub(crate) async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let view: Value = serde_json::from_str(&self.http("/debug/pods").await).unwrap();
            if fits(&view) {
                return;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(
                !late,
                "waited in vain until {what}: {view:#}\n{}",
                self.log()
            );
            sleep(POLL).await;
        }
    }

    /// A page of the agent's metrics port.
    pub(crate) async fn http(&self, path: &str) -> String {
        let answer = self.get("127.0.0.1:15014", path).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn get(&self, addr: &str, path: &str) -> Option<String> {
        let mut stream = self.dial_from_node(addr).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Connects from the node's namespace, by this process, which is in none of the node's cgroups.
    pub(crate) async fn dial_from_node(
        &self,
        to: &str,
    ) -> Result<TcpStream, ambit_net::socket::DialError> {
        let to: SocketAddr = to.parse().unwrap();
        DialSpec::new(to, PATIENCE).within(&self.netns).dial().await
    }

    /// A plain server beyond the pod's gateway.
    pub(crate) async fn listen_on_node(&self) -> TcpListener {
        let addr = format!("{NODE_IP}:0").parse().unwrap();
        let listener = ListenSpec::new(addr).tcp(Some(&self.netns)).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    /// Attaches programs of somebody else to the pod's namespace until the kernel takes no more
    /// (`netns_bpf_max_progs` in `kernel/bpf/net_namespace.c`). They let everything pass.
    pub(crate) fn crowd(&self, pod: &Pod) -> Capture {
        let capture = Capture::open(CaptureConfig {
            pin_root: self.dir.path().join("bpf/foreign"),
            cgroup_root: self.cgroup.join("proxy"),
            node_netns_cookie: self.netns.cookie().unwrap(),
            kubepods: None,
        })
        .unwrap();
        let pass = PodOptions {
            plain_inbound: true,
            ..PodOptions::default()
        };
        for number in 0..1000 {
            let slot = Slot::new(number).unwrap();
            capture.set_options(slot, pass).unwrap();
            if let Err(error) = capture.attach_steer(slot, pod.netns.as_fd()) {
                eprintln!("after {number} foreign programs: {}", causes(&error));
                return capture;
            }
        }
        panic!("the kernel takes any number of programs");
    }

    /// Starts a process in the pod and its cgroup that connects to `to`.
    pub(crate) fn app_connects(&self, pod: &Pod, to: &str) -> App {
        let (ip, port) = to.rsplit_once(':').unwrap();
        let script =
            format!("if exec 3<>/dev/tcp/{ip}/{port}; then echo connected; exec cat <&3 >&3; fi");
        self.app(pod, &script)
    }

    /// Starts a process in the pod that sends a datagram and prints the answer.
    pub(crate) fn app_asks(&self, pod: &Pod, to: &str, question: &str) -> App {
        let (ip, port) = to.rsplit_once(':').unwrap();
        let script = format!("exec 3<>/dev/udp/{ip}/{port}; printf {question} >&3; head -c 6 <&3");
        self.app(pod, &script)
    }

    fn app(&self, pod: &Pod, script: &str) -> App {
        let script = format!(
            "echo $$ > {}/cgroup.procs; {script}",
            self.cgroup.join("pods").display()
        );
        let mut command = tokio::process::Command::new("bash");
        command
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = pod.netns.enter(|| command.spawn()).unwrap().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).into();
        App { child, out }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.kill_agent();
        let _ = umount2(&self.dir.path().join("bpf"), MntFlags::MNT_DETACH);
        for part in ["proxy", "pods", ""] {
            let path = self.cgroup.join(part);
            // Killed processes leave their cgroup a moment later.
            for _ in 0..200 {
                match fs::remove_dir(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        let _ = fs::write(path.join("cgroup.kill"), "1");
                        std::thread::sleep(POLL);
                    }
                    _ => break,
                }
            }
        }
    }
}

/// A path to a namespace that has no name.
fn ns_path(netns: &Netns) -> PathBuf {
    let fd = netns.as_fd().as_raw_fd();
    format!("/proc/{}/fd/{fd}", std::process::id()).into()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
