//! A node of a cluster: an API server, cgroups as kubelet makes them, a proc directory with the processes of
//! its pods, CNI directories.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ambit_net::Netns;
use ambit_net::netlink::{Family, Netlink};
use ambit_net::socket::ListenSpec;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api::Api;
use crate::ground::{Ground, POD_IP, ip, ns_path};

pub(crate) const REDIRECTION: &str = "ambient.istio.io/redirection";

pub(crate) struct Node {
    pub(crate) api: Api,
    ground: Ground,
}

pub(crate) struct Pod {
    uid: String,
    netns: Netns,
    /// A namespace that is not the pod's.
    pub(crate) elsewhere: Netns,
}

/// A process that connects and stays connected.
pub(crate) struct App(tokio::process::Child);

impl Deref for Node {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.ground
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Ground {
        &mut self.ground
    }
}

impl Node {
    /// `None`, with a message, when the test may not make namespaces.
    pub(crate) async fn make() -> Option<Self> {
        let folders = ["proc", "netns", "net.d", "bin"];
        let ground = Ground::make(&["kubepods/burstable"], &folders).await?;
        symlink("/proc/sys", ground.path("proc/sys")).unwrap();
        fs::write(ground.path("ambit-cni"), "plugin").unwrap();
        let listener = ListenSpec::new("127.0.0.1:6443".parse().unwrap())
            .tcp(Some(&ground.netns))
            .unwrap();
        let api = Api::serve(TcpListener::from_std(listener).unwrap());
        let node = Self { api, ground };
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

    /// The agent's binary, told where things are on a node of a cluster.
    fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = self.agent(subcommand);
        command
            .arg(format!("--cni-conf-dir={}", self.path("net.d").display()))
            .arg(format!("--cni-bin-dir={}", self.path("bin").display()));
        command
    }

    /// Runs `ambit-agent uninstall-cni`; what it says on failure.
    pub(crate) fn uninstall(&self) -> Result<(), String> {
        let mut command = self.command(&["uninstall-cni"]);
        let output = self.netns.enter(|| command.output()).unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(said)
    }

    pub(crate) async fn start_agent(&mut self) {
        let mut command = self.command(&[]);
        let places = [
            ("kubeconfig", self.path("kubeconfig")),
            ("proc", self.path("proc")),
            ("netns-dir", self.path("netns")),
            ("cni-binary", self.path("ambit-cni")),
        ];
        command.args(places.map(|(flag, path)| format!("--{flag}={}", path.display())));
        self.start(command).await;
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
        fs::create_dir_all(self.cgroup.join(cgroup_of(&uid))).unwrap();
        let mut pod = object("istio-system", name, &uid);
        pod["metadata"]["labels"] = json!({"app": "ztunnel"});
        self.api
            .put(&format!("/api/v1/namespaces/istio-system/pods/{name}"), pod);
    }

    /// A pod of namespace `shop` that runs, as kubelet and the container runtime leave it; the plugin was
    /// never called.
    pub(crate) fn running_pod(&self, name: &str) -> Pod {
        let uid = format!("uid-{name}");
        fs::create_dir_all(self.cgroup.join(cgroup_of(&uid))).unwrap();
        let pod = Pod {
            uid: uid.clone(),
            netns: Netns::make().unwrap(),
            elsewhere: Netns::make().unwrap(),
        };
        self.wire("veth0", &pod.netns);
        ip(&pod.netns, "link set lo up");
        symlink(ns_path(&pod.netns), self.path("netns/cni-of-the-pod")).unwrap();
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

    /// A process in the pod's network and in this pod's cgroup that connects to `to`.
    pub(crate) fn connect_as(&self, uid: &str, pod: &Pod, to: &str) -> App {
        let (host, port) = to.rsplit_once(':').unwrap();
        let script = format!("exec 3<>/dev/tcp/{host}/{port} && exec cat <&3");
        App(self.script(&pod.netns, &cgroup_of(uid), &script, Stdio::null()))
    }

    pub(crate) fn connect(&self, pod: &Pod, to: &str) -> App {
        self.connect_as(&pod.uid, pod, to)
    }

    /// The redirection annotation of a pod of namespace `shop`.
    pub(crate) fn annotation(&self, name: &str) -> Option<String> {
        let pod = self
            .api
            .get(&format!("/api/v1/namespaces/shop/pods/{name}"))?;
        let value = pod["metadata"]["annotations"][REDIRECTION].as_str()?;
        Some(value.to_owned())
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

/// The cgroup of a pod's container, below the node's.
fn cgroup_of(uid: &str) -> PathBuf {
    format!("kubepods/burstable/pod{uid}/c").into()
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
