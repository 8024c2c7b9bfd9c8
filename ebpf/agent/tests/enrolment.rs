//! The real agent, the real programs, pods in scratch namespaces; only the node proxy is the test's own,
//! and speaks ZDS as the product's does.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must panic")]
#![allow(
    clippy::print_stderr,
    reason = "why a test cannot run, and the log of an agent that failed one"
)]

#[path = "node/fixture.rs"]
mod fixture;
#[path = "node/ground.rs"]
mod ground;
#[path = "node/proxy.rs"]
mod proxy;

use ambit_api::zds::SocketRole;
use fixture::{Node, UID, VIP, captured, node};
use ground::POD_IP;
use proxy::{Heard, Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_captured_when_add_returns_and_plain_when_del_does() {
    let Some((node, mut proxy)) = node(1).await else {
        return;
    };
    node.namespace(true);
    let pod = node.pod("web");
    let added = node.cni("add", &pod).await;
    assert_eq!(added.0, 200, "{}", added.1);
    assert_eq!(proxy.heard().await, Heard::SnapshotSent);
    assert_eq!(proxy.heard().await, Heard::Offer(UID.into(), 1));
    assert_eq!(node.annotation("web").as_deref(), Some("enabled"));
    assert_eq!(node.cni("check", &pod).await.0, 200);

    // Outbound: the accepted socket's own address is what the app dialled.
    let app = node.app_connects(&pod, VIP);
    let (_stream, local, peer) = proxy.accept(UID, SocketRole::Outbound).await;
    assert_eq!(
        (local.to_string().as_str(), peer.ip().to_string().as_str()),
        (VIP, POD_IP)
    );
    assert!(app.connected().await);

    // Inbound: plaintext to any port, and HBONE.
    let to_app = node
        .dial_from_node(&format!("{POD_IP}:8080"))
        .await
        .unwrap();
    let (_stream, local, peer) = proxy.accept(UID, SocketRole::Inbound).await;
    assert_eq!(local.to_string(), format!("{POD_IP}:8080"));
    assert_eq!(peer, to_app.local_addr().unwrap());
    node.dial_from_node(&format!("{POD_IP}:15008"))
        .await
        .unwrap();
    proxy.accept(UID, SocketRole::Hbone).await;

    // DNS: to the nameserver of the node, answered by the proxy.
    let asker = node.app_asks(&pod, "10.96.0.10:53", "question");
    let (question, from, to) = proxy.datagram(UID).await;
    assert_eq!(
        (question.as_str(), to.to_string().as_str()),
        ("question", "127.53.0.1")
    );
    proxy.answer(UID, "answer", from, to).await;
    assert_eq!(asker.says().await, "answer");

    // An address that comes later is the pod's too: what it sends there is not captured.
    pod.add_address("10.244.1.6/32");
    node.until("the new address", |view| {
        view["pods"][0]["ips"] == serde_json::json!([POD_IP, "10.244.1.6"])
    })
    .await;

    let metrics = node.http("/metrics").await;
    for series in [
        "ambit_capture_decisions_total{decision=\"captured\"} 1\n",
        "ambit_capture_decisions_total{decision=\"steered_hbone\"} 1\n",
        "ambit_pods{state=\"enrolled\"} 1\n",
        "ambit_zds_connections 1\n",
        "ambit_cni_requests_total{command=\"add\",result=\"done\"} 1\n",
    ] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }

    assert_eq!(node.cni("del", &pod).await.0, 200);
    assert_eq!(proxy.heard().await, Heard::Delete(UID.into()));
    node.until("no pods", |view| {
        view["pods"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!(node.annotation("web"), None);
    assert_eq!(pod.mark_rules().await, 0);
    assert!(node.steer_pins().is_empty());
    assert_eq!(
        std::fs::read_dir(node.run_dir().join("pods"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn add_waits_for_a_proxy() {
    let Some(node) = Node::start().await else {
        return;
    };
    node.namespace(true);
    let pod = node.pod("web");
    let waiting = node.cni("add", &pod);
    let connect = async {
        node.until("the pod is pending", |view| {
            view["pods"][0]["state"] == "pending"
        })
        .await;
        assert_eq!(node.annotation("web").as_deref(), Some("pending"));
        Proxy::connect(&node, Some(1)).await
    };
    let (added, _proxy) = tokio::join!(waiting, connect);
    assert_eq!(added.0, 200, "{}", added.1);
    assert_eq!(node.annotation("web").as_deref(), Some("enabled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn add_is_refused_for_now_without_a_proxy_and_for_a_pod_nobody_knows() {
    let Some(node) = Node::start().await else {
        return;
    };
    node.namespace(true);
    // An upstream proxy takes no listeners: it is no help.
    let _upstream = Proxy::connect(&node, None).await;
    let known = node.pod("web");
    let unknown = node.sandbox("ghost");
    let (first, second) = tokio::join!(node.cni("add", &known), node.cni("add", &unknown));
    for (status, body) in [first, second] {
        assert_eq!(status, 503);
        assert!(body.contains("\"code\":11"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outside_the_mesh_start_at_once_and_join_later_without_a_restart() {
    let Some(node) = Node::start().await else {
        return;
    };
    node.namespace(false);
    let pod = node.pod("web");
    assert_eq!(node.cni("add", &pod).await.0, 200);
    node.until("the pod is plain", |view| {
        view["pods"][0]["state"] == "plain"
    })
    .await;
    assert!(node.steer_pins().is_empty());
    let mut proxy = Proxy::connect(&node, Some(1)).await;
    assert_eq!(proxy.heard().await, Heard::SnapshotSent);
    let elsewhere = node.listen_on_node();
    let older = node.app_connects(&pod, &elsewhere.local_addr().unwrap().to_string());
    let (mut older_end, _) = elsewhere.accept().await.unwrap();
    assert!(older.connected().await);

    node.namespace(true);
    assert_eq!(proxy.heard().await, Heard::Offer(UID.into(), 1));
    node.until("the pod is enrolled", |view| {
        view["pods"][0]["state"] == "enrolled"
    })
    .await;
    let app = node.app_connects(&pod, VIP);
    proxy.accept(UID, SocketRole::Outbound).await;
    assert!(app.connected().await);

    // What was there before goes on as it was, and is shown until it ends.
    older.echoes(&mut older_end).await;
    node.until("the older connection is counted", |view| {
        view["pods"][0]["preexistingConnections"] == 1
    })
    .await;
    let metrics = node.http("/metrics").await;
    assert!(metrics.contains("ambit_preexisting_connections 1\n"));
    drop((older, older_end));
    node.until("it has ended", |view| {
        view["pods"][0]["preexistingConnections"] == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_while_no_proxy_runs_and_the_next_one_gets_them() {
    let Some((node, first, pod)) = captured(2).await else {
        return;
    };
    drop(first);
    node.until("the proxy is gone", |view| view["proxies"] == 0)
        .await;

    let app = node.app_connects(&pod, VIP);
    assert!(
        app.connected().await,
        "the kernel completes the handshake into the queue"
    );
    // More workers than before: the groups grow.
    let mut second = Proxy::connect(&node, Some(3)).await;
    assert_eq!(second.heard().await, Heard::Offer(UID.into(), 3));
    assert_eq!(second.heard().await, Heard::SnapshotSent);
    let (_stream, local, _) = second.accept(UID, SocketRole::Outbound).await;
    assert_eq!(local.to_string(), VIP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_gets_the_listeners_back_from_the_proxy() {
    let Some((mut node, mut proxy, pod)) = captured(2).await else {
        return;
    };
    node.kill_agent();

    // Running pods are not affected.
    let app = node.app_connects(&pod, VIP);
    proxy.accept(UID, SocketRole::Outbound).await;
    assert!(app.connected().await);

    node.start_agent().await;
    node.until("the source has told everything", |view| {
        view["sourceComplete"] == true
    })
    .await;
    assert_eq!(
        node.readiness().await,
        "not ready: waiting for listeners of captured pods\n"
    );
    proxy.reconnect(&node).await;
    assert_eq!(proxy.heard_last().await, Heard::Asked(UID.into()));
    node.until_ready().await;
    node.until("the listeners are back", |view| {
        view["pods"][0]["workers"] == 2 && view["pods"][0]["served"] == true
    })
    .await;
    assert_eq!(node.annotation("web").as_deref(), Some("enabled"));

    // They are the same ones: what queues at them now outlives the proxy.
    drop(proxy);
    let app = node.app_connects(&pod, VIP);
    assert!(app.connected().await);
    let mut next = Proxy::connect(&node, Some(2)).await;
    let (_stream, local, _) = next.accept(UID, SocketRole::Outbound).await;
    assert_eq!(local.to_string(), VIP);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_agent_and_proxy_connections_are_refused_until_both_are_back() {
    let Some((mut node, proxy, pod)) = captured(1).await else {
        return;
    };
    node.kill_agent();
    drop(proxy);
    assert!(!node.app_connects(&pod, VIP).connected().await);
    assert!(
        node.dial_from_node(&format!("{POD_IP}:8080"))
            .await
            .is_err()
    );

    node.start_agent().await;
    let mut proxy = Proxy::connect(&node, Some(1)).await;
    assert_eq!(proxy.heard().await, Heard::Asked(UID.into()));
    node.until_ready().await;
    node.until("the pod is served again", |view| {
        view["pods"][0]["served"] == true
    })
    .await;
    let app = node.app_connects(&pod, VIP);
    proxy.accept(UID, SocketRole::Outbound).await;
    assert!(app.connected().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_leaves_keeps_its_connections_and_loses_everything_else() {
    let Some((node, mut proxy, pod)) = captured(1).await else {
        return;
    };
    let old = node.app_connects(&pod, VIP);
    let (mut stream, ..) = proxy.accept(UID, SocketRole::Outbound).await;
    assert!(old.connected().await);

    node.namespace(false);
    node.until("the pod is leaving", |view| {
        view["pods"][0]["state"] == "leaving"
    })
    .await;
    assert_eq!(node.annotation("web"), None);
    // New connections go the plain way: to a listener on the node itself.
    let plain = node.listen_on_node();
    let app = node.app_connects(&pod, &plain.local_addr().unwrap().to_string());
    let (_plain, peer) = plain.accept().await.unwrap();
    assert_eq!(peer.ip().to_string(), POD_IP);
    assert!(app.connected().await);
    // The old one still carries bytes, both ways, after inbound steering has gone.
    node.until_steer_pins(0).await;
    old.echoes(&mut stream).await;
    assert_ne!(pod.mark_rules().await, 0);

    drop((old, stream));
    node.until("the pod is plain", |view| {
        view["pods"][0]["state"] == "plain"
    })
    .await;
    assert_eq!(proxy.heard_last().await, Heard::Delete(UID.into()));
    assert_eq!(pod.mark_rules().await, 0);
    assert_eq!(pod.listeners(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_vanishes_is_cleaned_up_without_del() {
    let Some((node, mut proxy, pod)) = captured(1).await else {
        return;
    };
    drop(pod);
    assert_eq!(proxy.heard_last().await, Heard::Delete(UID.into()));
    node.until("no pods", |view| {
        view["pods"].as_array().unwrap().is_empty()
    })
    .await;
    assert!(node.steer_pins().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_s_state_file_follows_the_namespaces() {
    let Some(node) = Node::start().await else {
        return;
    };
    let state = node.run_dir().join("state.json");
    node.namespace(true);
    let says = |text: &str| std::fs::read_to_string(&state).is_ok_and(|found| found.contains(text));
    node.until("enrolled namespace", |_| says("\"shop\":true"))
        .await;
    node.namespace(false);
    node.until("plain namespace", |_| says("\"shop\":false"))
        .await;
    assert!(says("kube-system"));
}
