use crate::mesh::Mesh;
use ambit_api::type_urls::ADDRESS;
use ambit_api::workload::{NetworkMode, TunnelProtocol, WorkloadStatus, WorkloadType};
use ambit_crds::Kind;

#[test]
fn a_captured_ready_pod() {
    let mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    let w = mesh.pod("default", "reviews-v1");
    assert_eq!(
        (&*w.name, &*w.namespace, &*w.node),
        ("reviews-v1", "default", "n1")
    );
    assert_eq!(w.addresses, [vec![10, 244, 1, 10]]);
    assert_eq!(w.tunnel_protocol(), TunnelProtocol::Hbone);
    assert!(!w.native_tunnel);
    assert_eq!(w.service_account, "bookinfo-reviews");
    assert_eq!(w.trust_domain, "", "the default trust domain is left out");
    assert_eq!(
        (&*w.canonical_name, &*w.canonical_revision),
        ("reviews", "v1")
    );
    assert_eq!(
        (w.workload_type(), &*w.workload_name),
        (WorkloadType::Pod, "reviews-v1")
    );
    assert_eq!(w.status(), WorkloadStatus::Healthy);
    assert_eq!(w.cluster_id, "Kubernetes");
    let locality = w.locality.unwrap();
    assert_eq!((&*locality.region, &*locality.zone), ("r", "z1"));
    let ports = &w.services["default/reviews.default.svc.cluster.local"].ports;
    assert_eq!((ports[0].service_port, ports[0].target_port), (9080, 9080));
    assert_eq!(
        mesh.aliases("Kubernetes//Pod/default/reviews-v1"),
        ["/10.244.1.10"]
    );
}

#[test]
fn an_unready_pod_outside_the_mesh() {
    let mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    let w = mesh.pod("default", "reviews-v2");
    assert_eq!(w.tunnel_protocol(), TunnelProtocol::None);
    assert_eq!(w.status(), WorkloadStatus::Unhealthy);
    assert_eq!(w.service_account, "default");
    let ports = &w.services["default/reviews.default.svc.cluster.local"].ports;
    assert_eq!(
        ports[0].target_port, 9081,
        "each pod resolves a named port itself"
    );
    assert_eq!(w.locality, None);
}

fn pod(spec: &str, status: &str, meta: &str) -> Mesh {
    Mesh::new(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: ns{meta}}},
          spec: {{nodeName: n1, containers: [{{name: c}}]{spec}}}, status: {status}}}"
    ))
}

#[test]
fn pods_without_an_address_or_that_have_ended_are_left_out() {
    for (status, there) in [
        ("{phase: Pending}", false),
        ("{phase: Pending, podIPs: [{ip: 10.0.0.1}]}", true),
        ("{phase: Pending, podIP: 10.0.0.1}", true),
        ("{phase: Succeeded, podIPs: [{ip: 10.0.0.1}]}", false),
        ("{phase: Failed, podIPs: [{ip: 10.0.0.1}]}", false),
        ("{phase: Running, podIPs: [{ip: not-an-ip}]}", false),
    ] {
        let mesh = pod("", status, "");
        assert_eq!(mesh.has(ADDRESS, "Kubernetes//Pod/ns/p"), there, "{status}");
    }
}

#[test]
fn host_network_native_tunnel_and_deletion_show() {
    let up = "{podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}";
    let host = pod(", hostNetwork: true", up, "");
    assert_eq!(host.pod("ns", "p").network_mode(), NetworkMode::HostNetwork);
    assert!(
        host.aliases("Kubernetes//Pod/ns/p").is_empty(),
        "its address is its node's"
    );
    let native = pod("", up, ", labels: {networking.istio.io/tunnel: http}").pod("ns", "p");
    assert!(native.native_tunnel && native.tunnel_protocol() == TunnelProtocol::Hbone);
    let going = pod("", up, ", deletionTimestamp: '2026-01-01T00:00:00Z'").pod("ns", "p");
    assert_eq!(going.status(), WorkloadStatus::Unhealthy);
    let pending = pod(
        "",
        up,
        ", annotations: {ambient.istio.io/redirection: pending}",
    )
    .pod("ns", "p");
    assert_eq!(pending.tunnel_protocol(), TunnelProtocol::None);
}

#[test]
fn endpoints_without_a_pod_become_workloads_and_those_with_one_do_not() {
    let mut mesh = Mesh::new(
        "apiVersion: v1
kind: Service
metadata: {name: api, namespace: ns}
spec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: ns, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: https, port: 6443}]
endpoints:
- {addresses: [192.168.0.1], nodeName: n1}
- {addresses: [192.168.0.2], conditions: {ready: false}}
- {addresses: [10.0.0.9], targetRef: {kind: Pod, name: p, namespace: ns}}
",
    );
    let uid = |ip: &str| format!("Kubernetes/discovery.k8s.io/EndpointSlice/ns/api-1/{ip}");
    let first = mesh.workload(&uid("192.168.0.1"));
    assert_eq!(first.network_mode(), NetworkMode::HostNetwork);
    assert_eq!(first.status(), WorkloadStatus::Healthy);
    let port = first.services["ns/api.ns.svc.cluster.local"].ports[0];
    assert_eq!((port.service_port, port.target_port), (443, 6443));
    assert_eq!(
        mesh.workload(&uid("192.168.0.2")).status(),
        WorkloadStatus::Unhealthy
    );
    assert!(!mesh.has(ADDRESS, &uid("10.0.0.9")));
    mesh.delete(Kind::Service, "ns", "api");
    assert!(mesh.names(ADDRESS).is_empty());
}

#[test]
fn the_order_of_changes_does_not_matter() {
    let text = include_str!("../fixtures/bookinfo.yaml");
    let all = Mesh::new(text);
    let mut parts: Vec<&str> = text.split("---\n").collect();
    parts.reverse();
    let mut one_by_one = Mesh::new(parts[0]);
    for part in &parts[1..] {
        one_by_one.apply(part);
    }
    assert_eq!(all.names(ADDRESS), one_by_one.names(ADDRESS));
    for name in ["reviews-v1", "reviews-v2", "ratings-v1"] {
        assert_eq!(all.pod("default", name), one_by_one.pod("default", name));
    }
}
