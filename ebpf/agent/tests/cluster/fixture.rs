//! A node of a cluster: a namespace with an API server, cgroups as kubelet makes them, a proc directory
//! with the processes of its pods, CNI directories, and the agent.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ambit_ebpf_loader::cgroup2_mount;
use ambit_net::Netns;
use ambit_net::netlink::{Family, Netlink};
use ambit_net::socket::{DialSpec, ListenSpec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::api::Api;

pub(crate) const POD_IP: &str = "10.244.1.5";
pub(crate) const NODE_IP: &str = "10.244.1.1";
pub(crate) const REDIRECTION: &str = "ambient.istio.io/redirection";

pub(crate) struct Node {
    pub(crate) api: Api,
    dir: tempfile::TempDir,
    cgroup: PathBuf,
    netns: Netns,
    agent: Option<Child>,
}

pub(crate) struct Pod {
    uid: String,
    netns: Netns,
    /// A namespace that is not the pod's.
    pub(crate) elsewhere: Netns,
}

/// A process that connects and stays connected.
pub(crate) struct App(tokio::process::Child);

impl Node {
    /// `None`, with a message, when the test may not make namespaces.
    pub(crate) async fn make() -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("cannot run: needs root for namespaces, cgroups and eBPF");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ambit-agent-cluster-{}-{number}", std::process::id());
        let cgroup = cgroup2_mount().unwrap().join(name);
        fs::create_dir_all(cgroup.join("kubepods/burstable")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for part in ["bpf", "proc", "netns", "run", "net.d", "bin"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        symlink("/proc/sys", dir.path().join("proc/sys")).unwrap();
        fs::write(dir.path().join("ambit-cni"), "plugin").unwrap();
        let bpf = dir.path().join("bpf");
        let none = None::<&str>;
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), none).unwrap();
        let netns = Netns::make().unwrap();
        Netlink::open(&netns).unwrap().link_up("lo").await.unwrap();
        let listener = ListenSpec::new("127.0.0.1:6443".parse().unwrap())
            .tcp(Some(&netns))
            .unwrap();
        let api = Api::serve(TcpListener::from_std(listener).unwrap());
        let node = Self {
            api,
            dir,
            cgroup,
            netns,
            agent: None,
        };
        node.kubeconfig();
        Some(node)
    }

    fn kubeconfig(&self) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:6443"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        fs::write(self.path("kubeconfig"), config.to_string()).unwrap();
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    pub(crate) fn zds_socket(&self) -> PathBuf {
        self.path("zds.sock")
    }

    /// The agent's binary with the flags that say where things are on the node.
    fn command(&self, subcommand: &[&str]) -> Command {
        let flags = [
            ("cgroup-root", self.cgroup.clone()),
            ("pin-root", self.path("bpf/ambit")),
            ("node-netns", ns_path(&self.netns)),
            ("run-dir", self.path("run")),
            ("cni-socket", self.path("cni.sock")),
            ("cni-conf-dir", self.path("net.d")),
            ("cni-bin-dir", self.path("bin")),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_ambit-agent"));
        command
            .env_clear()
            .args(subcommand)
            .args(flags.map(|(flag, path)| format!("--{flag}={}", path.display())));
        command
    }

    /// Runs `ambit-agent uninstall-cni`; what it says on failure.
    pub(crate) fn uninstall(&self) -> Result<(), String> {
        let mut command = self.command(&["uninstall-cni"]);
        let output = self.netns.enter(|| command.output()).unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(said)
    }

    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub(crate) async fn start_agent(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let flags = [
            ("kubeconfig", self.path("kubeconfig")),
            ("proc", self.path("proc")),
            ("netns-dir", self.path("netns")),
            ("zds-socket", self.zds_socket()),
            ("cni-binary", self.path("ambit-cni")),
        ];
        let mut command = self.command(&[]);
        command
            .args(flags.map(|(flag, path)| format!("--{flag}={}", path.display())))
            .args(["--node-name=node-1", "--log=debug"])
            .args([
                "--metrics-addr=127.0.0.1:15014",
                "--ready-addr=127.0.0.1:8000",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(self.netns.enter(|| command.spawn()).unwrap().unwrap());
        self.until_answers("127.0.0.1:15014", "/debug/pods").await;
    }

    pub(crate) async fn until_ready(&mut self) {
        self.until_answers("127.0.0.1:8000", "/readyz").await;
    }

    async fn until_answers(&mut self, addr: &str, path: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.get(addr, path).await.is_none() {
            if let Some(status) = self.agent.as_mut().unwrap().try_wait().unwrap() {
                panic!("the agent ended: {status}");
            }
            assert!(Instant::now() < deadline, "no answer from {addr}{path}");
            sleep(POLL).await;
        }
    }

    /// Ends the agent as kubelet does, and waits for it.
    pub(crate) async fn terminate_agent(&mut self) -> ExitStatus {
        let mut agent = self.agent.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(agent.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = agent.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.agent = Some(agent);
                panic!("the agent does not end");
            }
            sleep(POLL).await;
        }
    }

    pub(crate) fn namespace(&self, name: &str, labels: Value) {
        self.api.put(
            &format!("/api/v1/namespaces/{name}"),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
        );
    }

    /// A pod of the mesh's own: an object and a cgroup.
    pub(crate) fn proxy_pod(&self, name: &str) {
        let uid = format!("uid-{name}");
        fs::create_dir_all(self.cgroup_of(&uid)).unwrap();
        let mut pod = object("istio-system", name, &uid);
        pod["metadata"]["labels"] = json!({"app": "ztunnel"});
        self.api
            .put(&format!("/api/v1/namespaces/istio-system/pods/{name}"), pod);
    }

    /// A pod of namespace `shop` that runs, as kubelet and the container runtime leave it; the plugin was
    /// never called.
    pub(crate) fn running_pod(&self, name: &str) -> Pod {
        let uid = format!("uid-{name}");
        fs::create_dir_all(self.cgroup_of(&uid)).unwrap();
        let pod = Pod {
            uid: uid.clone(),
            netns: Netns::make().unwrap(),
            elsewhere: Netns::make().unwrap(),
        };
        let pod_ns = ns_path(&pod.netns);
        let pod_ns = pod_ns.to_str().unwrap();
        ip(
            &self.netns,
            &[
                "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", pod_ns,
            ],
        );
        ip(
            &self.netns,
            &["addr", "add", &format!("{NODE_IP}/24"), "dev", "veth0"],
        );
        ip(&self.netns, &["link", "set", "veth0", "up"]);
        ip(
            &pod.netns,
            &["addr", "add", &format!("{POD_IP}/24"), "dev", "eth0"],
        );
        ip(&pod.netns, &["link", "set", "eth0", "up"]);
        ip(&pod.netns, &["link", "set", "lo", "up"]);
        ip(&pod.netns, &["route", "add", "default", "via", NODE_IP]);
        symlink(pod_ns, self.path("netns").join("cni-of-the-pod")).unwrap();
        self.process(200, 500, &format!("{uid}/sandbox-1"), &pod.netns);
        self.process(300, 900, &format!("{uid}/container-1"), &pod.netns);
        let mut object = object("shop", name, &uid);
        object["status"]["podIPs"] = json!([{"ip": POD_IP}]);
        self.api
            .put(&format!("/api/v1/namespaces/shop/pods/{name}"), object);
        pod
    }

    /// An entry of the proc directory: a process of `<pod uid>/<container>`.
    pub(crate) fn process(&self, pid: u32, started: u64, cgroup: &str, netns: &Netns) {
        let dir = self.path("proc").join(pid.to_string());
        fs::create_dir_all(dir.join("ns")).unwrap();
        let cgroup = format!("3:cpu:/x\n0::/kubepods/burstable/pod{cgroup}\n");
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        let zeros = "0 ".repeat(18);
        fs::write(
            dir.join("stat"),
            format!("{pid} (a (b) c) S {zeros}{started} 0\n"),
        )
        .unwrap();
        symlink(ns_path(netns), dir.join("ns/net")).unwrap();
    }

    pub(crate) fn cgroup_of(&self, uid: &str) -> PathBuf {
        self.cgroup.join(format!("kubepods/burstable/pod{uid}/c"))
    }

    /// A process in the pod's network and in this pod's cgroup that connects to `to`.
    pub(crate) fn connect_as(&self, uid: &str, pod: &Pod, to: &str) -> App {
        let (host, port) = to.rsplit_once(':').unwrap();
        let procs = self.cgroup_of(uid).join("cgroup.procs");
        let script = format!(
            "echo $$ > {}; exec 3<>/dev/tcp/{host}/{port} && exec cat <&3",
            procs.display()
        );
        let mut command = tokio::process::Command::new("bash");
        command
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        App(pod.netns.enter(|| command.spawn()).unwrap().unwrap())
    }

    pub(crate) fn connect(&self, pod: &Pod, to: &str) -> App {
        self.connect_as(&pod.uid, pod, to)
    }

    /// A plain server beyond the pod's gateway.
    pub(crate) fn listen(&self) -> TcpListener {
        let addr = format!("{NODE_IP}:0").parse().unwrap();
        let listener = ListenSpec::new(addr).tcp(Some(&self.netns)).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    pub(crate) async fn view(&self) -> Value {
        let body = self.get("127.0.0.1:15014", "/debug/pods").await;
        body.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get("127.0.0.1:15014", "/metrics").await.unwrap()
    }

    /// The redirection annotation of a pod of namespace `shop`.
    pub(crate) fn annotation(&self, name: &str) -> Option<String> {
        let pod = self
            .api
            .get(&format!("/api/v1/namespaces/shop/pods/{name}"))?;
        Some(
            pod["metadata"]["annotations"][REDIRECTION]
                .as_str()?
                .to_owned(),
        )
    }

    /// Types of the plugins of a network configuration.
    pub(crate) fn plugins(&self, file: &str) -> Vec<String> {
        let text = fs::read(self.path("net.d").join(file)).unwrap();
        let list: Value = serde_json::from_slice(&text).unwrap();
        let plugins = list["plugins"].as_array().unwrap().iter();
        plugins
            .map(|plugin| plugin["type"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn steer_pins(&self) -> usize {
        let Ok(versions) = fs::read_dir(self.path("bpf/ambit")) else {
            return 0;
        };
        versions
            .filter_map(|version| fs::read_dir(version.unwrap().path().join("steer")).ok())
            .map(Iterator::count)
            .sum()
    }

    /// Body of a 200.
    async fn get(&self, addr: &str, path: &str) -> Option<String> {
        let to = addr.parse().unwrap();
        let spec = DialSpec::new(to, PATIENCE).within(&self.netns);
        let mut stream = spec.dial().await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

impl Pod {
    pub(crate) async fn mark_rules(&self) -> usize {
        let netlink = Netlink::open(&self.netns).unwrap();
        netlink.rules(Family::V4).await.unwrap().len()
    }
}

impl App {
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}",
                fs::read_to_string(self.path("agent.log")).unwrap_or_default()
            );
        }
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let _ = umount2(&self.path("bpf"), MntFlags::MNT_DETACH);
        remove_cgroups(&self.cgroup);
    }
}

/// Bottom up; killed processes leave their cgroup a moment later.
fn remove_cgroups(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    for _ in 0..200 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                let _ = fs::write(path.join("cgroup.kill"), "1");
                std::thread::sleep(POLL);
            }
            _ => return,
        }
    }
}

/// Waits until it holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(POLL).await;
    }
}

fn object(namespace: &str, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "spec": {
            "nodeName": "node-1", "serviceAccountName": "web-account",
            "containers": [{"name": "main", "image": "none"}],
        },
        "status": {"phase": "Running"},
    })
}

fn ns_path(netns: &Netns) -> PathBuf {
    format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        netns.as_fd().as_raw_fd()
    )
    .into()
}

fn ip(netns: &Netns, args: &[&str]) {
    let mut command = Command::new("ip");
    let output = netns
        .enter(|| command.args(args).output())
        .unwrap()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args:?}: {error}");
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
