//! What every node of these tests has, wherever its agent learns of pods: a namespace, a cgroup, a bpffs, a
//! folder, pods on veth pairs, and the agent's process.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ambit_ebpf_loader::cgroup2_mount;
use ambit_net::Netns;
use ambit_net::netlink::Netlink;
use ambit_net::socket::{DialError, DialSpec, ListenSpec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// The pod's address.
pub(crate) const POD_IP: &str = "10.244.1.5";
/// The pod's gateway.
const NODE_IP: &str = "10.244.1.1";
/// Where the agent serves metrics and what it knows.
const METRICS: &str = "127.0.0.1:15014";
/// Where it says whether it is ready.
const READINESS: &str = "127.0.0.1:8000";

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The ground of one node. Dropping it ends the agent and removes everything.
pub(crate) struct Ground {
    dir: tempfile::TempDir,
    pub(crate) cgroup: PathBuf,
    pub(crate) netns: Netns,
    agent: Option<Child>,
}

impl Ground {
    /// With these cgroups below the node's and these folders; `None`, with a message, when the test may not
    /// make namespaces.
    pub(crate) async fn make(cgroups: &[&str], folders: &[&str]) -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("cannot run: needs root for namespaces, cgroups and eBPF");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ambit-agent-test-{}-{number}", std::process::id());
        let cgroup = cgroup2_mount().unwrap().join(name);
        for part in cgroups {
            fs::create_dir_all(cgroup.join(part)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        for part in ["bpf", "run"].iter().chain(folders) {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let (bpf, none) = (dir.path().join("bpf"), None::<&str>);
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), none).unwrap();
        let netns = Netns::make().unwrap();
        Netlink::open(&netns).unwrap().link_up("lo").await.unwrap();
        Some(Self {
            dir,
            cgroup,
            netns,
            agent: None,
        })
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    pub(crate) fn zds_socket(&self) -> PathBuf {
        self.path("zds.sock")
    }

    /// The agent's binary, told where things are on the node.
    pub(crate) fn agent(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ambit-agent"));
        let places = [
            ("cgroup-root", self.cgroup.clone()),
            ("pin-root", self.path("bpf/ambit")),
            ("node-netns", ns_path(&self.netns)),
            ("run-dir", self.path("run")),
            ("cni-socket", self.path("cni.sock")),
        ];
        command
            .env_clear()
            .args(subcommand)
            .args(places.map(|(flag, path)| format!("--{flag}={}", path.display())));
        command
    }

    /// Starts it and waits until it shows its pods. It may have to wait for a proxy to be ready.
    pub(crate) async fn start(&mut self, mut command: Command) {
        let mut log = fs::File::options();
        let log = log.create(true).append(true).open(self.path("agent.log"));
        command
            .arg("--node-name=node-1")
            .arg(format!("--zds-socket={}", self.zds_socket().display()))
            .arg(format!("--metrics-addr={METRICS}"))
            .arg(format!("--ready-addr={READINESS}"))
            .arg("--log=debug,aya=info,aya_obj=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.agent = Some(self.netns.enter(|| command.spawn()).unwrap().unwrap());
        self.until_answers(METRICS, "/debug/pods").await;
    }

    /// Waits until the agent says that it is ready.
    pub(crate) async fn until_ready(&mut self) {
        self.until_answers(READINESS, "/readyz").await;
    }

    /// What the agent says on its readiness port: that it is, or why not.
    pub(crate) async fn readiness(&self) -> String {
        self.get(READINESS, "/ready").await.unwrap().1
    }

    async fn until_answers(&mut self, addr: &str, path: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.get(addr, path).await.is_none_or(|(ok, _)| !ok) {
            if let Some(status) = self.agent.as_mut().unwrap().try_wait().unwrap() {
                panic!("the agent ended: {status}");
            }
            assert!(Instant::now() < deadline, "no answer from {addr}{path}");
            sleep(POLL).await;
        }
    }

    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// Ends the agent as kubelet does, and waits for it.
    pub(crate) async fn terminate_agent(&mut self) -> ExitStatus {
        let agent = self.agent.as_mut().unwrap();
        let pid = Pid::from_raw(i32::try_from(agent.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = agent.try_wait().unwrap() {
                self.agent = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            sleep(POLL).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// A page of the agent's metrics port.
    pub(crate) async fn http(&self, path: &str) -> String {
        self.get(METRICS, path).await.unwrap().1
    }

    /// What the agent knows of its pods; null while it does not answer.
    pub(crate) async fn view(&self) -> Value {
        let answer = self.get(METRICS, "/debug/pods").await;
        answer.map_or(Value::Null, |(_, text)| {
            serde_json::from_str(&text).unwrap()
        })
    }

    /// Whether the answer is 200, and its body.
    async fn get(&self, addr: &str, path: &str) -> Option<(bool, String)> {
        let mut stream = self.dial_from_node(addr).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.starts_with("HTTP/1.1 200"), body.to_owned()))
    }

    /// Connects from the node's namespace, by this process, which is in none of the node's cgroups.
    pub(crate) async fn dial_from_node(&self, to: &str) -> Result<TcpStream, DialError> {
        let spec = DialSpec::new(to.parse().unwrap(), PATIENCE);
        spec.within(&self.netns).dial().await
    }

    /// A plain server beyond the pod's gateway.
    pub(crate) fn listen_on_node(&self) -> TcpListener {
        let addr = format!("{NODE_IP}:0").parse().unwrap();
        let listener = ListenSpec::new(addr).tcp(Some(&self.netns)).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    /// Gives a pod's namespace its network.
    pub(crate) fn wire(&self, veth: &str, pod: &Netns) {
        let pod_ns = ns_path(pod).display().to_string();
        let node = |line: &str| ip(&self.netns, line);
        node(&format!(
            "link add {veth} type veth peer name eth0 netns {pod_ns}"
        ));
        node(&format!("addr add {NODE_IP}/24 dev {veth}"));
        node(&format!("link set {veth} up"));
        ip(pod, &format!("addr add {POD_IP}/24 dev eth0"));
        ip(pod, "link set eth0 up");
        ip(pod, &format!("route add default via {NODE_IP}"));
    }

    /// A process of a shell script in the pod's network and in this cgroup of the node.
    pub(crate) fn script(
        &self,
        pod: &Netns,
        cgroup: &Path,
        script: &str,
        out: Stdio,
    ) -> tokio::process::Child {
        let procs = self.cgroup.join(cgroup).join("cgroup.procs");
        let script = format!("echo $$ > {}; {script}", procs.display());
        let mut command = tokio::process::Command::new("bash");
        command
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .kill_on_drop(true);
        pod.enter(|| command.spawn()).unwrap().unwrap()
    }

    pub(crate) fn steer_pins(&self) -> Vec<PathBuf> {
        let Ok(versions) = fs::read_dir(self.path("bpf/ambit")) else {
            return Vec::new();
        };
        versions
            .filter_map(|version| fs::read_dir(version.unwrap().path().join("steer")).ok())
            .flatten()
            .map(|pin| pin.unwrap().path())
            .collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
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

/// A path to a namespace that has no name.
pub(crate) fn ns_path(netns: &Netns) -> PathBuf {
    let fd = netns.as_fd().as_raw_fd();
    format!("/proc/{}/fd/{fd}", std::process::id()).into()
}

/// Runs `ip` inside; gives what it prints.
pub(crate) fn ip(netns: &Netns, line: &str) -> String {
    let mut command = Command::new("ip");
    command.args(line.split(' '));
    let done = netns.enter(|| command.output()).unwrap().unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {line}: {error}");
    String::from_utf8(done.stdout).unwrap()
}
