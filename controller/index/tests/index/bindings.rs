//! Waypoints of third parties, and what gateways tell applications.

use crate::mesh::Mesh;
use ambit_api::workload::TunnelProtocol;
use ambit_api::workload::application_tunnel::Protocol;
use ambit_api::workload::gateway_address::Destination;

const SERVICE: &str = "shop/web.shop.svc.cluster.local";

/// A Gateway of a class that is nobody's we know, its pod, and a Service that names it.
const THEIRS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs, CLASS}
spec: {controllerName: example.com/gateways}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, annotations: {OWN}}
spec:
  gatewayClassName: theirs
  listeners: [{name: proxy, port: 15088, protocol: istio.io/PROXY, allowedRoutes: {namespaces: {from: All}}}]
status: {addresses: [{type: IPAddress, value: 10.96.0.40}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: edge-0
  namespace: shop
  labels: {app: edge, gateway.networking.k8s.io/gateway-name: edge}
  annotations: {ambient.istio.io/redirection: enabled}
spec: {nodeName: n1, containers: []}
status: {phase: Running, podIPs: [{ip: 10.244.1.40}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec: {clusterIP: 10.96.0.40, selector: {app: edge}, ports: [{port: 15088}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {istio.io/use-waypoint: edge}}
spec: {clusterIP: 10.96.0.41, ports: [{port: 80}]}
";

fn theirs(class: &str, own: &str) -> Mesh {
    Mesh::new(&THEIRS.replace("CLASS", class).replace("OWN", own))
}

fn tunnel(mesh: &Mesh) -> Option<(Protocol, u32)> {
    let tunnel = mesh.pod("shop", "edge-0").application_tunnel?;
    Some((tunnel.protocol(), tunnel.port))
}

#[test]
fn pods_of_a_foreign_waypoint_get_their_connections_as_it_or_its_class_says() {
    let binding = "ambient.istio.io/waypoint-inbound-binding";
    let of_class = format!("annotations: {{{binding}: PROXY/15088}}");
    let none = "labels: {}";
    for (class, own, expected) in [
        (none, String::new(), None),
        (&*of_class, String::new(), Some((Protocol::Proxy, 15088))),
        (
            &*of_class,
            format!("{binding}: PROXY"),
            Some((Protocol::Proxy, 0)),
        ),
        (
            &*of_class,
            format!("{binding}: NONE"),
            Some((Protocol::None, 0)),
        ),
        (&*of_class, format!("{binding}: TLS"), None),
        (
            none,
            format!("{binding}: PROXY/15088"),
            Some((Protocol::Proxy, 15088)),
        ),
    ] {
        let mesh = theirs(class, &own);
        assert_eq!(tunnel(&mesh), expected, "{class} {own}");
        let pod = mesh.pod("shop", "edge-0");
        assert_eq!(pod.tunnel_protocol(), TunnelProtocol::Hbone);
        assert!(!pod.native_tunnel, "its node proxy ends the tunnel");
        let waypoint = mesh.service(SERVICE).waypoint.unwrap();
        let Some(Destination::Address(address)) = waypoint.destination else {
            panic!("{waypoint:?}");
        };
        assert_eq!(address.address, [10, 96, 0, 40]);
    }
}

#[test]
fn a_foreign_waypoint_admits_by_the_listener_of_its_connections_and_serves_what_its_class_says() {
    let binding = "annotations: {ambient.istio.io/waypoint-inbound-binding: PROXY/15088}";
    let abroad = "{apiVersion: v1, kind: Service, metadata: {name: far, namespace: abroad, labels: {istio.io/use-waypoint: edge, \
         istio.io/use-waypoint-namespace: shop}}, spec: {clusterIP: 10.96.0.42, ports: [{port: 80}]}}";
    let far = "abroad/far.abroad.svc.cluster.local";
    let mut mesh = theirs(binding, "");
    mesh.apply(abroad);
    assert!(mesh.service(far).waypoint.is_some());
    let mut unbound = theirs("labels: {}", "");
    unbound.apply(abroad);
    assert_eq!(unbound.service(far).waypoint, None);
    let workloads = theirs("labels: {istio.io/waypoint-for: workload}", "");
    assert_eq!(workloads.service(SERVICE).waypoint, None);
}

#[test]
fn applications_are_told_who_called_unless_the_gateway_or_its_class_says_no() {
    let mut mesh = crate::gateways::ready();
    assert!(!mesh.gateway("default/waypoint").withholds_client);
    let class = |word: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: istio-waypoint, \
             annotations: {{ambient.istio.io/xfcc-include-client-identity: '{word}'}}}}}}"
        )
    };
    for (word, withholds) in [("true", false), ("maybe", false), ("false", true)] {
        mesh.apply(&class(word));
        let gateway = mesh.gateway("default/waypoint");
        assert_eq!(gateway.withholds_client, withholds, "{word}");
    }
}
