//! Enrolment that fails in the middle: the pod has plain networking as before and nothing of the mesh in it,
//! and joins as soon as what was in the way is gone. Real agent, real programs, a proxy of the test's own.
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
use fixture::{Node, Pod, UID, VIP, node};
use ground::POD_IP;
use proxy::{Heard, Proxy};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_application_has_our_port_stays_as_it_is() {
    let Some((node, mut proxy)) = node(2).await else {
        return;
    };
    let pod = running(&node).await;
    // Routing and the other listeners are done when this one turns out to be taken.
    let taken = pod.listen(15008);
    node.namespace(true);
    fails_with(&node, "cannot make listeners in the pod").await;
    as_before(&node, &pod, 1).await;

    drop(taken);
    joins(&node, &mut proxy, &pod).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_takes_no_more_programs_stays_as_it_is() {
    let Some((node, mut proxy)) = node(2).await else {
        return;
    };
    assert_eq!(proxy.heard().await, Heard::SnapshotSent);
    let pod = running(&node).await;
    // Here the proxy has its listeners and the slots are full when the kernel refuses.
    let crowd = node.crowd(&pod);
    node.namespace(true);
    fails_with(&node, "cannot change steering").await;
    assert_eq!(proxy.heard().await, Heard::Offer(UID.into(), 2));
    assert_eq!(proxy.heard().await, Heard::Delete(UID.into()));
    as_before(&node, &pod, 0).await;

    crowd.remove_all().unwrap();
    joins(&node, &mut proxy, &pod).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_that_cannot_join_is_not_started() {
    let Some((node, mut proxy)) = node(1).await else {
        return;
    };
    node.namespace(true);
    let pod = node.pod("web");
    let crowd = node.crowd(&pod);
    let (status, body) = node.cni("add", &pod).await;
    assert_eq!(status, 503, "{body}");
    let answer = body.lines().next().unwrap();
    assert!(answer.contains("\"code\":11"), "{body}");
    assert!(answer.contains("cannot change steering"), "{body}");

    // The runtime tries again.
    crowd.remove_all().unwrap();
    assert_eq!(node.cni("add", &pod).await.0, 200);
    joins(&node, &mut proxy, &pod).await;
}

/// A pod that was started outside the mesh.
async fn running(node: &Node) -> Pod {
    node.namespace(false);
    let pod = node.pod("web");
    assert_eq!(node.cni("add", &pod).await.0, 200);
    assert_eq!(pod.traces(), [""; 0]);
    pod
}

async fn fails_with(node: &Node, why: &str) {
    let failed = |view: &Value| {
        let error = view["pods"][0]["error"].as_str();
        error.is_some_and(|error| error.contains(why))
    };
    node.until("enrolment has failed", failed).await;
    assert_eq!(node.annotation("web").as_deref(), Some("pending"));
}

/// Between two tries nothing of the mesh is there but `own` listeners of the application, and the pod's
/// connections go where they went before.
async fn as_before(node: &Node, pod: &Pod, own: usize) {
    node.until("everything is removed", |view| {
        let view = &view["pods"][0];
        view["state"] == "pending"
            && view["workers"].is_null()
            && view["ips"].as_array().unwrap().is_empty()
            && pod.traces().is_empty()
            && pod.listeners() == own
            && node.steer_pins().is_empty()
    })
    .await;
    let elsewhere = node.listen_on_node();
    let app = node.app_connects(pod, &elsewhere.local_addr().unwrap().to_string());
    let (_stream, peer) = elsewhere.accept().await.unwrap();
    assert_eq!(peer.ip().to_string(), POD_IP);
    assert!(app.connected().await);

    let server = pod.listen(8080);
    let client = node
        .dial_from_node(&format!("{POD_IP}:8080"))
        .await
        .unwrap();
    let (_stream, peer) = server.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert!(
        node.http("/metrics")
            .await
            .contains("decision=\"captured\"} 0\n")
    );
}

async fn joins(node: &Node, proxy: &mut Proxy, pod: &Pod) {
    node.until("the pod is enrolled", |view| {
        let view = &view["pods"][0];
        view["state"] == "enrolled" && view["error"].is_null()
    })
    .await;
    assert_eq!(node.annotation("web").as_deref(), Some("enabled"));
    let app = node.app_connects(pod, VIP);
    let (_stream, local, _) = proxy.accept(UID, SocketRole::Outbound).await;
    assert_eq!(local.to_string(), VIP);
    assert!(app.connected().await);
}
