use crate::mesh::Mesh;
use ambit_crds::{Kind, ObjectKey};

const BASE: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w, namespace: ns}, spec: {
  gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]},
  status: {addresses: [{type: IPAddress, value: 10.96.0.50}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: ns, labels: {istio.io/use-waypoint: w}},
  spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: t, namespace: far}, spec: {clusterIP: 10.96.0.8, ports: [{name: http, port: 80}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: ns}, spec: {
  parentRefs: [{group: '', kind: Service, name: s}],
  rules: [{backendRefs: [{name: t, namespace: far, port: 80}]}]}}";

const GRANT: &str = "
{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: g, namespace: far}, spec: {
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: ns}], to: [{group: '', kind: Service, name: t}]}}";

fn resolved(mesh: &Mesh) -> (String, String) {
    let route = &mesh.statuses[&ObjectKey::new(Kind::HttpRoute, "ns", "r")]["parents"][0];
    let all = route["conditions"].as_array().unwrap();
    let found = all.iter().find(|c| c["type"] == "ResolvedRefs").unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

fn cluster(mesh: &Mesh) -> String {
    format!(
        "{:?}",
        mesh.router("ns/w/ns/s.ns.svc.cluster.local/80").http[0].action
    )
}

#[test]
fn a_backend_of_another_namespace_is_used_while_a_grant_lets_it() {
    let mut mesh = Mesh::new(BASE);
    let own = |met: &str, reason: &str| (met.to_owned(), reason.to_owned());
    assert_eq!(resolved(&mesh), own("False", "RefNotPermitted"));
    assert!(!cluster(&mesh).contains("far/t"));
    mesh.apply(GRANT);
    assert_eq!(resolved(&mesh), own("True", "ResolvedRefs"));
    assert!(cluster(&mesh).contains("far/t.far.svc.cluster.local/80"));
    mesh.apply(&GRANT.replace("name: t}", "name: u}"));
    assert_eq!(resolved(&mesh), own("False", "RefNotPermitted"));
    mesh.apply(GRANT);
    mesh.delete(Kind::ReferenceGrant, "far", "g");
    assert_eq!(resolved(&mesh), own("False", "RefNotPermitted"));
    assert!(!cluster(&mesh).contains("far/t"));
}
