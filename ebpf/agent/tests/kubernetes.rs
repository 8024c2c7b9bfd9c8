//! The agent with an API server: pods that run already, proxies told apart by their cgroup, the plugin kept
//! in the chain, and the end of the mesh on a node.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must panic")]
#![allow(
    clippy::print_stderr,
    reason = "why a test cannot run, and the log of an agent that failed one"
)]

#[path = "kubernetes/api.rs"]
mod api;
#[path = "kubernetes/fixture.rs"]
mod fixture;
#[path = "node/ground.rs"]
mod ground;
#[path = "node/proxy.rs"]
mod proxy;

use std::fs;

use ambit_api::zds::SocketRole;
use api::DAEMON_SET;
use fixture::{Node, Pod, REDIRECTION};
use ground::{PATIENCE, until};
use proxy::Proxy;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

const UID: &str = "uid-web";
const VIP: &str = "10.96.0.1:80";
const CHAIN: &str = "10-pods.conflist";
const POD: &str = "/api/v1/namespaces/shop/pods/web";

/// A node with a running pod outside the mesh, one proxy and an agent.
async fn cluster() -> Option<(Node, Pod)> {
    let mut node = Node::make().await?;
    node.namespace("shop", json!({}));
    node.namespace("istio-system", json!({}));
    node.api.put(
        "/api/v1/namespaces/kube-system/services/kube-dns",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns"}, "spec": {"clusterIPs": ["10.96.0.10"]}}),
    );
    node.api.put(
        DAEMON_SET,
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ambit-cni-node"}}),
    );
    node.proxy_pod("ztunnel-a");
    let pod = node.running_pod("web");
    // Older than the pod's others, and not where its network is.
    node.process(100, 1, "uid-web/debug", &pod.elsewhere);
    write_chain(&node);
    node.start_agent().await;
    node.until_ready().await;
    Some((node, pod))
}

/// As the primary plugin writes it.
fn write_chain(node: &Node) {
    let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp"}, {"type": "portmap"}]});
    let staging = node.path("net.d/.new");
    fs::write(&staging, list.to_string()).unwrap();
    fs::rename(&staging, node.path("net.d").join(CHAIN)).unwrap();
}

fn join(node: &Node) {
    node.namespace("shop", json!({"istio.io/dataplane-mode": "ambient"}));
}

/// Waits for one connection that is not captured.
async fn accepts(server: &TcpListener) {
    let accepted = timeout(PATIENCE, server.accept()).await;
    accepted.expect("a plain connection comes").unwrap();
}

async fn until_state(node: &Node, state: &str) {
    until(&format!("the pod is {state}"), || async {
        node.view().await["pods"][0]["state"] == state
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_runs_already_joins_when_its_namespace_is_labelled() {
    let Some((node, pod)) = cluster().await else {
        return;
    };
    let mut proxy = Proxy::connect(&node, Some(1)).await;
    assert_eq!(node.view().await["pods"], json!([]));
    join(&node);
    until_state(&node, "enrolled").await;
    let view = node.view().await;
    let netns = node.path("netns/cni-of-the-pod");
    assert_eq!(view["pods"][0]["netns"], netns.to_str().unwrap());
    assert_eq!(view["pods"][0]["uid"], UID);
    until("the annotation", || async {
        node.annotation("web").as_deref() == Some("enabled")
    })
    .await;
    let mut app = node.connect(&pod, VIP);
    let (_stream, local, _) = proxy.accept(UID, SocketRole::Outbound).await;
    assert_eq!(local.to_string(), VIP);
    assert!(app.is_alive());

    // Whoever takes the annotation away sees it come back.
    node.api.change(POD, |pod| {
        let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(REDIRECTION);
    });
    until("the annotation again", || async {
        node.annotation("web").as_deref() == Some("enabled")
    })
    .await;
    let pods = "GET /api/v1/pods?";
    let asked = node.api.requests();
    assert!(
        asked
            .iter()
            .filter(|request| request.starts_with(pods))
            .all(|request| request.contains("fieldSelector=spec.nodeName%3Dnode-1")),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_proxy_of_a_rolling_upgrade_is_exempt_and_no_pod_that_only_says_so() {
    let Some((node, pod)) = cluster().await else {
        return;
    };
    let mut proxy = Proxy::connect(&node, Some(1)).await;
    join(&node);
    until_state(&node, "enrolled").await;
    let server = node.listen_on_node();
    let to = server.local_addr().unwrap().to_string();
    let _exempt = node.connect_as("uid-ztunnel-a", &pod, &to);
    accepts(&server).await;

    // A second proxy starts, as in a rolling upgrade, and the first still works.
    node.proxy_pod("ztunnel-b");
    let exempt = || async {
        let metrics = node.http("/metrics").await;
        let line = "ambit_capture_decisions_total{decision=\"exempt\"} ";
        let found = metrics.lines().find_map(|text| text.strip_prefix(line));
        found.unwrap().parse::<u64>().unwrap()
    };
    let before = exempt().await;
    until("the second proxy is exempt", || async {
        let _tries = node.connect_as("uid-ztunnel-b", &pod, &to);
        exempt().await > before
    })
    .await;
    let mut newer = Proxy::connect(&node, Some(1)).await;
    newer.heard().await;
    let before = exempt().await;
    let _exempt = node.connect_as("uid-ztunnel-a", &pod, &to);
    until("the first proxy is exempt", || async {
        exempt().await > before
    })
    .await;

    // The pod itself, and one that has the label in a namespace of its own, are captured.
    node.api.change(POD, |pod| {
        pod["metadata"]["labels"] = json!({"app": "ztunnel"});
    });
    let _app = node.connect(&pod, &to);
    let accepted = tokio::select! {
        (_, local, _) = newer.accept(UID, SocketRole::Outbound) => local,
        (_, local, _) = proxy.accept(UID, SocketRole::Outbound) => local,
    };
    assert_eq!(accepted.to_string(), to);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_stays_in_the_chain_whoever_writes_it_again() {
    let Some((node, _pod)) = cluster().await else {
        return;
    };
    let ours = ["ptp", "portmap", "ambit-cni"];
    assert_eq!(node.plugins(CHAIN), ours);
    assert_eq!(fs::read(node.path("bin/ambit-cni")).unwrap(), b"plugin");
    write_chain(&node);
    until("the plugin again", || async { node.plugins(CHAIN) == ours }).await;
    fs::remove_file(node.path("net.d").join(CHAIN)).unwrap();
    fs::remove_file(node.path("bin/ambit-cni")).unwrap();
    until("the binary again", || async {
        node.path("bin/ambit-cni").exists()
    })
    .await;
    let single = json!({"cniVersion": "1.0.0", "name": "pods", "type": "bridge"});
    fs::write(node.path("net.d/05-first.conf"), single.to_string()).unwrap();
    until("a list instead", || async {
        node.path("net.d/05-first.conflist").exists() && !node.path("net.d/05-first.conf").exists()
    })
    .await;
    assert_eq!(node.plugins("05-first.conflist"), ["bridge", "ambit-cni"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_replaced_leaves_everything_and_the_last_one_nothing() {
    let Some((mut node, pod)) = cluster().await else {
        return;
    };
    let mut proxy = Proxy::connect(&node, Some(1)).await;
    join(&node);
    until_state(&node, "enrolled").await;
    until("the annotation", || async {
        node.annotation("web").as_deref() == Some("enabled")
    })
    .await;

    assert!(node.terminate_agent().await.success());
    assert_eq!(node.plugins(CHAIN), ["ptp", "portmap", "ambit-cni"]);
    assert_eq!((node.steer_pins().len(), pod.mark_rules().await), (1, 2));
    let _app = node.connect(&pod, VIP);
    proxy.accept(UID, SocketRole::Outbound).await;
    drop(_app);

    node.start_agent().await;
    until("the source has told everything", || async {
        node.view().await["sourceComplete"] == true
    })
    .await;
    proxy.reconnect(&node).await;
    node.until_ready().await;
    until_state(&node, "enrolled").await;

    node.api.delete(DAEMON_SET);
    assert!(node.terminate_agent().await.success());
    assert_eq!(node.annotation("web"), None);
    assert_as_before(&node, &pod).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_agent_died_can_be_taken_out_of_the_mesh_by_hand() {
    let Some((mut node, pod)) = cluster().await else {
        return;
    };
    let _proxy = Proxy::connect(&node, Some(1)).await;
    join(&node);
    until_state(&node, "enrolled").await;
    let refused = node.uninstall().unwrap_err();
    assert!(refused.contains("an agent runs on this node"), "{refused}");
    assert_eq!(node.plugins(CHAIN), ["ptp", "portmap", "ambit-cni"]);
    node.kill_agent();
    node.uninstall().unwrap();
    assert_as_before(&node, &pod).await;
    node.uninstall().unwrap();
}

/// Nothing of the mesh is on the node or in the pod.
async fn assert_as_before(node: &Node, pod: &Pod) {
    assert_eq!(node.plugins(CHAIN), ["ptp", "portmap"]);
    assert!(!node.path("bin/ambit-cni").exists());
    assert_eq!((node.steer_pins().len(), pod.mark_rules().await), (0, 0));
    assert!(!node.path("run/state.json").exists());
    assert!(!node.path("run/pods").exists());
    let server = node.listen_on_node();
    let _app = node.connect(pod, &server.local_addr().unwrap().to_string());
    accepts(&server).await;
}
