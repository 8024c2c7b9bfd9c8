//! Each code on objects that have its cause, and none on objects that do not.

use super::*;
use ambit_crds::Object;
use serde_json::{Value, json};
use std::sync::Arc;

fn world(yaml: &str) -> World {
    let values: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let objects = values
        .into_iter()
        .map(|v| Arc::new(Object::parse(v).unwrap()));
    World::new(objects, "istio-system")
}

fn said(yaml: &str) -> Vec<String> {
    analyze(&world(yaml))
        .into_iter()
        .map(|f| format!("{} {} {}", f.code, f.origin, f.field))
        .collect()
}

/// A namespace of the mesh with a service, its pods and a waypoint in front.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, version: v1}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {containers: [], nodeName: n1}
status: {phase: Running}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1, port: {number: 80}}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {targetRefs: [{kind: Service, group: '', name: web}]}
---
";

fn with(more: &str) -> Vec<String> {
    said(&format!("{SHOP}{more}"))
}

#[test]
fn nothing_is_said_of_what_is_well() {
    assert_eq!(with(""), Vec::<String>::new());
}

#[test]
fn names_of_nothing_are_errors() {
    let route = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: shop}
spec: {hosts: [api.example.com], gateways: [gone], http: [{route: [
  {destination: {host: lost}}, {destination: {host: web, subset: v9}}, {destination: {host: web.shop.svc.cluster.local, port: {number: 81}}},
  {destination: {host: api.example.com}}]}]}
";
    let bad = "VirtualService shop/bad";
    assert_eq!(
        with(route),
        [
            format!("IST0101 {bad} spec.gateways[0]"),
            format!("IST0101 {bad} spec.http[0].route[0].destination.host"),
            format!("IST0101 {bad} spec.http[0].route[1].destination.subset"),
            format!("IST0101 {bad} spec.http[0].route[2].destination.port.number"),
        ]
    );
    let others = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{name: gone}, {kind: Service, group: '', name: web}], rules: [{backendRefs: [{name: lost, port: 80}, {name: web, port: 9}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {targetRefs: [{kind: Service, group: '', name: lost}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop, labels: {istio.io/use-waypoint: lost}}
spec: {ports: [{name: http, port: 80}]}
";
    assert_eq!(
        with(others),
        [
            "IST0101 Service shop/other metadata.labels.istio.io/use-waypoint",
            "IST0101 HTTPRoute shop/r spec.parentRefs[0]",
            "IST0101 HTTPRoute shop/r spec.rules[0].backendRefs[0]",
            "IST0101 HTTPRoute shop/r spec.rules[0].backendRefs[1].port",
            "IST0101 AuthorizationPolicy shop/p spec.targetRefs[0]",
        ]
    );
}

#[test]
fn a_namespace_that_asks_for_sidecars_is_warned() {
    let namespace = |labels: &str| {
        format!(
            "
apiVersion: v1
kind: Namespace
metadata: {{name: a, labels: {labels}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: a}}
spec: {{containers: []}}
"
        )
    };
    let levels = |labels: &str| {
        let found = analyze(&world(&namespace(labels)));
        found.iter().map(|f| (f.code, f.level)).collect::<Vec<_>>()
    };
    assert_eq!(
        levels("{istio-injection: enabled}"),
        [("IST0102", Level::Warning)]
    );
    assert_eq!(
        levels("{istio.io/rev: canary}"),
        [("IST0102", Level::Warning)]
    );
    assert_eq!(levels("{}"), [("IST0102", Level::Info)]);
    assert_eq!(levels("{istio-injection: disabled}"), []);
    assert_eq!(levels("{istio.io/dataplane-mode: none}"), []);
    assert_eq!(
        levels("{istio.io/dataplane-mode: ambient, istio-injection: enabled}"),
        [("IST0123", Level::Warning)]
    );
    assert_eq!(
        levels("{istio.io/dataplane-mode: Ambient}"),
        [("IST0125", Level::Warning)]
    );
}

#[test]
fn pods_and_labels_that_do_not_do_what_they_seem_to() {
    let more = "
apiVersion: v1
kind: Pod
metadata: {name: lost, namespace: shop}
spec: {containers: [], nodeName: n1}
status: {phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: shop}
spec: {containers: [], nodeName: n1, hostNetwork: true}
status: {phase: Running}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop, annotations: {istio.io/use-waypoint: waypoint}}
spec: {ports: [{name: data, port: 1}, {name: x, port: 2, appProtocol: tcp}]}
";
    assert_eq!(
        with(more),
        [
            "IST0107 Service shop/db metadata.annotations.istio.io/use-waypoint",
            "IST0103 Pod shop/lost ",
            "IST0118 Service shop/db spec.ports[0].name",
        ]
    );
}

#[test]
fn policies_and_routes_that_nobody_runs() {
    let more = "
apiVersion: v1
kind: Namespace
metadata: {name: plain, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: plain}
spec: {selector: {app: s}, ports: [{name: http, port: 80}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: l7, namespace: plain}
spec: {targetRefs: [{kind: Service, group: '', name: s}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: none, namespace: plain}
spec: {selector: {matchLabels: {app: nobody}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: s, namespace: plain}
spec: {hosts: [s], http: [{route: [{destination: {host: s}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s, namespace: plain}
spec: {host: s, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: t, namespace: plain}
spec: {host: t}
---
apiVersion: v1
kind: Pod
metadata: {name: waypoint-x, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}
spec: {containers: []}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-selector, namespace: shop}
spec: {selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: waypoint}}}
";
    let mut found = with(more);
    found.sort();
    assert_eq!(
        found,
        [
            "IST0127 PeerAuthentication plain/none spec.selector.matchLabels",
            "IST0166 AuthorizationPolicy shop/by-selector spec.selector.matchLabels",
            "IST0167 AuthorizationPolicy plain/l7 spec.targetRefs[0]",
            "IST0167 VirtualService plain/s spec.hosts[0]",
            "IST0173 DestinationRule plain/s spec.subsets[0].labels",
            "IST0174 DestinationRule plain/t spec.host",
        ]
    );
}

#[test]
fn gateways_that_want_the_same() {
    let more = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec: {selector: {app: web}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: shop}
spec: {selector: {app: web}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}, {port: {number: 81, name: x, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: in, namespace: shop}
spec: {hosts: [b.example.com], gateways: [one], http: [{route: [{destination: {host: web}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web2, namespace: shop}
spec: {hosts: [web.shop.svc.cluster.local], http: [{route: [{destination: {host: web}}]}]}
";
    let mut found = with(more);
    found.sort();
    assert_eq!(
        found,
        [
            "IST0109 VirtualService shop/web spec.hosts",
            "IST0109 VirtualService shop/web2 spec.hosts",
            "IST0132 VirtualService shop/in spec.gateways[0]",
            "IST0145 Gateway shop/one spec.servers[0]",
            "IST0145 Gateway shop/two spec.servers",
            "IST0162 Gateway shop/two spec.servers[1].port.number",
        ]
    );
}

#[test]
fn statuses_that_say_no_are_told() {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "m"});
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {"parentRefs": []},
        "status": {"parents": [{"conditions": [condition("Accepted", "False"), condition("ResolvedRefs", "True")]}]},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"gatewayClassName": "istio", "listeners": []},
        "status": {"conditions": [condition("Programmed", "False"), condition("Conflicted", "False")]},
    });
    let objects = [route, gateway].map(|v| Arc::new(Object::parse(v).unwrap()));
    let found = analyze(&World::new(objects, "istio-system"));
    let said: Vec<_> = found.iter().map(|f| (f.code, f.field.as_str())).collect();
    assert_eq!(
        said,
        [
            ("IST0171", "status.conditions"),
            ("IST0171", "status.parents[0].conditions"),
        ]
    );
    assert!(
        found[0]
            .message
            .ends_with("type=Programmed, reason=R, message=m")
    );
    let missing = |status: &str| {
        let entry = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": "e", "namespace": "shop"},
            "spec": {"hosts": ["*.x.org"], "resolution": "DYNAMIC_DNS",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
            "status": {"conditions": [condition("istio.io/WaypointMissing", status)]},
        });
        let objects = [Arc::new(Object::parse(entry).unwrap())];
        analyze(&World::new(objects, "istio-system")).len()
    };
    assert_eq!((missing("True"), missing("False")), (1, 0));
}

#[test]
fn the_table_for_people_has_every_message() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("MESSAGES.md");
    let text = std::fs::read_to_string(path).unwrap();
    for m in MESSAGES {
        let row = format!("| {} | {} | {:?} | {} |", m.code, m.name, m.level, m.about);
        assert!(text.contains(&row), "MESSAGES.md lacks: {row}");
    }
}
