//! The plugin as the runtime sees it: a process with variables, stdin, stdout and an exit code.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use ambit_cni::known::{Known, PodPattern};
use serde_json::{Value, json};

struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn conf(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "type": "ambit-cni",
            "agentSocket": self.path("cni.sock"),
            "stateFile": self.path("known.json"),
            "logFile": self.path("cni.log"),
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "sandbox": "/run/netns/pod"}],
                "ips": [{"address": "10.244.1.5/24", "gateway": "10.244.1.1", "interface": 0}],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dns": {},
            },
        })
    }

    fn know(&self) {
        let known = Known {
            namespaces: [("shop".to_owned(), true), ("plain".to_owned(), false)].into(),
            excluded: vec!["infra".into()],
            own_pods: vec![PodPattern::new("mesh", "proxy-*")],
        };
        known.write(&self.path("known.json")).unwrap();
    }

    /// Answers one request, then returns what was asked.
    fn agent(&self, answer: &'static str) -> JoinHandle<(String, Value)> {
        let listener = UnixListener::bind(self.path("cni.sock")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let first = line.trim().to_owned();
            let mut length = 0;
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            (first, serde_json::from_slice(&body).unwrap())
        })
    }
}

fn plugin(command: &str, pod: &str, conf: &Value) -> Output {
    let (namespace, name) = pod.split_once('/').unwrap();
    let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_ambit-cni")))
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c0ffee")
        .env("CNI_NETNS", "/run/netns/pod")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .env(
            "CNI_ARGS",
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID=uid-1"),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(conf.to_string().as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error_code(output: &Output) -> u64 {
    assert_eq!(output.status.code(), Some(1));
    let error = stdout(output);
    assert!(
        error["msg"].is_string() && error["cniVersion"].is_string(),
        "{error}"
    );
    error["code"].as_u64().unwrap()
}

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
const LATER: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 46\r\n\r\n{\"code\":11,\"msg\":\"no proxy yet\",\"details\":\"x\"}";

#[test]
fn version_names_what_is_supported() {
    let output = plugin("VERSION", "shop/web", &json!({"cniVersion": "1.0.0"}));
    assert!(output.status.success());
    assert_eq!(
        stdout(&output)["supportedVersions"],
        json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    );
}

#[test]
fn add_asks_the_agent_and_passes_the_result_on_unchanged() {
    let node = Node::new();
    let agent = node.agent(DONE);
    let output = plugin("ADD", "shop/web", &node.conf());
    assert!(output.status.success());
    assert_eq!(stdout(&output), node.conf()["prevResult"]);
    let (first, body) = agent.join().unwrap();
    assert_eq!(first, "POST /cni/add HTTP/1.1");
    assert_eq!(
        body,
        json!({
            "containerId": "c0ffee", "netns": "/run/netns/pod", "namespace": "shop", "name": "web",
            "uid": "uid-1", "ips": ["10.244.1.5"],
        })
    );
    let log = std::fs::read_to_string(node.path("cni.log")).unwrap();
    assert!(log.ends_with("add shop/web: done\n"), "{log}");
}

#[test]
fn a_refusal_of_the_agent_becomes_the_plugin_s_error() {
    let node = Node::new();
    let agent = node.agent(LATER);
    let output = plugin("ADD", "shop/web", &node.conf());
    assert_eq!(error_code(&output), 11);
    assert_eq!(stdout(&output)["msg"], "no proxy yet");
    agent.join().unwrap();
}

#[test]
fn an_answer_that_is_cut_off_fails_the_pod() {
    let node = Node::new();
    node.know();
    let agent = node.agent("HTTP/1.1 20");
    assert_eq!(error_code(&plugin("ADD", "plain/web", &node.conf())), 11);
    agent.join().unwrap();
}

#[test]
fn without_the_agent_only_known_plain_pods_start() {
    let node = Node::new();
    assert_eq!(error_code(&plugin("ADD", "plain/web", &node.conf())), 11);
    assert!(
        plugin("ADD", "kube-system/dns", &node.conf())
            .status
            .success()
    );
    assert!(
        plugin("ADD", "istio-system/ztunnel-x", &node.conf())
            .status
            .success()
    );
    node.know();
    for (pod, starts) in [
        ("plain/web", true),
        ("infra/web", true),
        ("mesh/proxy-1", true),
        ("shop/web", false),
        ("unheard-of/web", false),
        ("mesh/web", false),
    ] {
        let output = plugin("ADD", pod, &node.conf());
        if starts {
            assert_eq!(stdout(&output), node.conf()["prevResult"], "{pod}");
        } else {
            assert_eq!(error_code(&output), 11, "{pod}");
        }
    }
}

#[test]
fn with_an_agent_that_hangs_known_plain_pods_start_too() {
    let node = Node::new();
    node.know();
    // It takes connections and never answers.
    let _agent = UnixListener::bind(node.path("cni.sock")).unwrap();
    let conf = node.conf();
    let (plain, enrolled) = std::thread::scope(|scope| {
        let conf = &conf;
        let add = |pod| scope.spawn(move || plugin("ADD", pod, conf));
        let (plain, enrolled) = (add("plain/web"), add("shop/web"));
        (plain.join().unwrap(), enrolled.join().unwrap())
    });
    assert!(plain.status.success(), "{plain:?}");
    assert_eq!(error_code(&enrolled), 11);
}

#[test]
fn del_never_fails() {
    let node = Node::new();
    let output = plugin("DEL", "shop/web", &node.conf());
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(
        plugin("DEL", "shop/web", &json!("nonsense"))
            .status
            .success()
    );
    let agent = node.agent(LATER);
    assert!(plugin("DEL", "shop/web", &node.conf()).status.success());
    let (first, body) = agent.join().unwrap();
    assert_eq!(first, "POST /cni/del HTTP/1.1");
    assert_eq!(body["containerId"], "c0ffee");
}

#[test]
fn check_reports_what_the_agent_says() {
    let node = Node::new();
    assert_eq!(error_code(&plugin("CHECK", "shop/web", &node.conf())), 11);
    let agent = node.agent(DONE);
    let output = plugin("CHECK", "shop/web", &node.conf());
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(agent.join().unwrap().0, "POST /cni/check HTTP/1.1");
}

#[test]
fn wrong_invocations_have_the_codes_of_the_specification() {
    let node = Node::new();
    let mut conf = node.conf();
    conf.as_object_mut().unwrap().remove("prevResult");
    assert_eq!(error_code(&plugin("ADD", "shop/web", &conf)), 7);
    assert_eq!(error_code(&plugin("CHECK", "shop/web", &conf)), 7);
    assert_eq!(error_code(&plugin("ADD", "shop/web", &json!("x"))), 6);
    let mut conf = node.conf();
    conf["cniVersion"] = json!("9.0.0");
    assert_eq!(error_code(&plugin("ADD", "shop/web", &conf)), 1);
    assert_eq!(error_code(&plugin("MAKE", "shop/web", &node.conf())), 4);
    assert_eq!(error_code(&plugin("", "shop/web", &node.conf())), 4);
}

#[test]
fn status_and_gc_succeed_without_output() {
    let node = Node::new();
    for command in ["STATUS", "GC"] {
        let output = plugin(command, "shop/web", &node.conf());
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{command}"
        );
    }
}
