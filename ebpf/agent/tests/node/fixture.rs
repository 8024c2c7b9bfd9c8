//! A node outside a cluster: its agent reads a directory. Pods come by the plugin's requests.
#![allow(dead_code, reason = "each test uses a part of it")]

mod pod;

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ambit_ebpf_loader::{Capture, CaptureConfig, PodOptions, Slot};
use ambit_net::Netns;
use ambit_runtime::causes::causes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::ground::{Ground, POD_IP, ns_path, until};
use crate::proxy::Proxy;
pub(crate) use pod::{App, Pod};

/// The uid of the only pod of most tests.
pub(crate) const UID: &str = "uid-web";
/// An address nobody has.
pub(crate) const VIP: &str = "10.96.0.1:80";

pub(crate) struct Node(Ground);

impl Deref for Node {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.0
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Ground {
        &mut self.0
    }
}

/// A node with a ready agent, and a proxy with so many workers. `None`, with a message, when the test may
/// not make namespaces.
pub(crate) async fn node(workers: u32) -> Option<(Node, Proxy)> {
    let node = Node::start().await?;
    let proxy = Proxy::connect(&node, Some(workers)).await;
    Some((node, proxy))
}

/// The same, and the pod `web` is started in the mesh.
pub(crate) async fn captured(workers: u32) -> Option<(Node, Proxy, Pod)> {
    let (node, proxy) = node(workers).await?;
    node.namespace(true);
    let pod = node.pod("web");
    let (status, answer) = node.cni("add", &pod).await;
    assert_eq!(status, 200, "{answer}");
    Some((node, proxy, pod))
}

impl Node {
    /// `None`, with a message, when the test may not make namespaces.
    pub(crate) async fn start() -> Option<Self> {
        let ground = Ground::make(&["proxy", "pods"], &["source"]).await?;
        let mut node = Self(ground);
        node.start_agent().await;
        node.until_ready().await;
        Some(node)
    }

    /// Starts the agent and waits until it shows its pods. It may have to wait for a proxy to be ready.
    pub(crate) async fn start_agent(&mut self) {
        let mut command = self.agent(&[]);
        let places = [
            ("source-dir", self.path("source")),
            ("proxy-cgroup", self.cgroup.join("proxy")),
            ("kubepods-cgroup", self.cgroup.join("pods")),
        ];
        command
            .args(places.map(|(flag, path)| format!("--{flag}={}", path.display())))
            .arg("--nameservers=10.96.0.10");
        self.0.start(command).await;
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    fn write(&self, file: &str, object: &Value) {
        let dir = self.path("source");
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
    pub(crate) fn pod(&self, name: &str) -> Pod {
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
        self.wire(&format!("veth-{name}"), &pod.netns);
        pod
    }

    /// An empty sandbox without an object.
    pub(crate) fn sandbox(&self, name: &str) -> Pod {
        Pod {
            name: name.into(),
            netns: Netns::make().unwrap(),
        }
    }

    /// One request as the plugin makes it; status and body, with the agent's log if it failed.
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
        let mut stream = UnixStream::connect(self.path("cni.sock")).await.unwrap();
        let request = format!(
            "POST /cni/{command} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let log = if status == 200 {
            String::new()
        } else {
            self.log()
        };
        (status, format!("{body}\n{log}"))
    }

    /// The redirection annotation the agent wrote.
    pub(crate) fn annotation(&self, pod: &str) -> Option<String> {
        let path = format!("source/.status/agent-node-1/pods/shop/{pod}.yaml");
        let text = fs::read_to_string(self.path(&path)).ok()?;
        let line = text
            .lines()
            .find(|line| line.contains("ambient.istio.io/redirection"))?;
        Some(line.rsplit_once(':')?.1.trim().trim_matches('"').to_owned())
    }

    pub(crate) async fn until_steer_pins(&self, count: usize) {
        until("steer pins", async || self.steer_pins().len() == count).await;
    }

    /// Waits until the agent's debug page fits.
    pub(crate) async fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) {
        until(what, async || fits(&self.view().await)).await;
    }

    /// Attaches programs of somebody else to the pod's namespace until the kernel takes no more
    /// (`netns_bpf_max_progs` in `kernel/bpf/net_namespace.c`). They let everything pass.
    pub(crate) fn crowd(&self, pod: &Pod) -> Capture {
        let capture = Capture::open(CaptureConfig {
            pin_root: self.path("bpf/foreign"),
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
        let mut child = self.script(&pod.netns, Path::new("pods"), script, Stdio::piped());
        let out = BufReader::new(child.stdout.take().unwrap()).into();
        App { child, out }
    }
}
