use crate::mesh::Mesh;
use ambit_api::route as pb;
use ambit_api::type_urls::{GATEWAY, ROUTER};
use ambit_crds::{Kind, ObjectKey};
use ambit_index::Audience;
use serde_json::Value;

const FRONT: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: front
  namespace: default
  annotations: {networking.istio.io/service-type: NodePort}
spec:
  gatewayClassName: istio
  infrastructure: {labels: {istio: ingressgateway}}
  listeners:
    - {name: http, port: 80, protocol: HTTP}
    - {name: shop, port: 80, protocol: HTTP, hostname: '*.shop.example', allowedRoutes: {namespaces: {from: All}}}
    - {name: tls, port: 443, protocol: HTTPS}
";

fn bookinfo() -> Mesh {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(FRONT);
    mesh
}

fn route(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// (Accepted, ResolvedRefs) reasons of each parent.
fn parents(mesh: &Mesh, namespace: &str, name: &str) -> Vec<(String, String)> {
    let status = &mesh.statuses[&ObjectKey::new(Kind::HttpRoute, namespace, name)];
    let reason = |parent: &Value, kind: &str| {
        let conditions = parent["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        found["reason"].as_str().unwrap().to_owned()
    };
    let parents = status["parents"].as_array().unwrap();
    parents
        .iter()
        .map(|p| (reason(p, "Accepted"), reason(p, "ResolvedRefs")))
        .collect()
}

fn clusters(router: &pb::Router) -> Vec<String> {
    let of = |route: &pb::HttpRoute| match &route.action {
        Some(pb::http_route::Action::Forward(f)) => f.clusters[0].cluster.clone(),
        other => format!("{other:?}"),
    };
    router.http.iter().map(of).collect()
}

#[test]
fn an_ingress_gateway_is_named_after_its_class_and_serves_its_http_listeners() {
    let mut mesh = bookinfo();
    let account = ObjectKey::new(Kind::ServiceAccount, "default", "front-istio");
    assert!(mesh.generated.contains_key(&account));
    let service = &mesh.generated[&ObjectKey::new(Kind::Service, "default", "front-istio")];
    assert_eq!(service["spec"]["type"], "NodePort");
    let selector = &service["spec"]["selector"]["gateway.networking.k8s.io/gateway-name"];
    assert_eq!(selector, "front");
    let ports: Vec<_> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [15021, 80]);
    assert_eq!(mesh.gateway("default/front").ports, [80]);
    let gateways = Audience::Gateways(["default/front-istio".to_owned()].into());
    assert_eq!(mesh.audience(GATEWAY, "default/front"), gateways);
    assert!(
        mesh.index
            .gateway_accounts()
            .iter()
            .eq(["default/front-istio"])
    );
    // Nothing is attached: both hosts are 404.
    let names = [
        "default/front/listener/*.shop.example/80",
        "default/front/listener/*/80",
    ];
    assert_eq!(mesh.names(ROUTER), names);
    assert!(mesh.router(names[0]).http.is_empty());

    let pod = mesh.generated.keys().find(|k| k.kind == Kind::Pod).unwrap();
    let name = pod.name.to_string();
    assert!(name.starts_with("front-istio-"));
    mesh.pod_runs(&name, "10.244.1.98");
    let of = |mesh: &Mesh, condition: &str| {
        let found = mesh.condition(Kind::Gateway, ("default", "front"), condition);
        let (status, reason, _) = found.unwrap();
        format!("{status} {reason}")
    };
    assert_eq!(of(&mesh, "Accepted"), "True ListenersNotValid");
    assert_eq!(of(&mesh, "Programmed"), "True Programmed");
    mesh.apply(&FRONT.replace(
        "  listeners:",
        "  addresses: [{value: 192.0.2.1}]\n  listeners:",
    ));
    assert_eq!(of(&mesh, "Programmed"), "False AddressNotUsable");
    // It has no tunnel of its own.
    let workload = mesh.pod("default", &name);
    assert!(!workload.native_tunnel);
}

#[test]
fn routes_attach_by_section_namespace_and_host_and_are_told() {
    let mut mesh = bookinfo();
    mesh.apply("{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
    let rules = "rules: [{backendRefs: [{name: reviews, port: 9080}]}]";
    for (name, namespace, spec, accepted, resolved) in [
        ("all", "default", format!("{{parentRefs: [{{name: front}}], {rules}}}"), "Accepted", "ResolvedRefs"),
        (
            "a",
            "default",
            format!("{{parentRefs: [{{name: front, sectionName: shop}}], hostnames: [a.shop.example, b.example], {rules}}}"),
            "Accepted",
            "ResolvedRefs",
        ),
        (
            "b",
            "default",
            format!("{{parentRefs: [{{name: front, sectionName: shop}}], hostnames: [b.example], {rules}}}"),
            "NoMatchingListenerHostname",
            "ResolvedRefs",
        ),
        (
            "far",
            "other",
            format!("{{parentRefs: [{{name: front, namespace: default, port: 80, sectionName: http}}], {rules}}}"),
            "NotAllowedByListeners",
            "ResolvedRefs",
        ),
        (
            "port",
            "default",
            format!("{{parentRefs: [{{name: front, port: 81}}], {rules}}}"),
            "NoMatchingParent",
            "ResolvedRefs",
        ),
        (
            "tls",
            "default",
            format!("{{parentRefs: [{{name: front, sectionName: tls}}], {rules}}}"),
            "NotAllowedByListeners",
            "ResolvedRefs",
        ),
        (
            "grant",
            "other",
            "{parentRefs: [{name: front, namespace: default}], rules: [{backendRefs: [{name: reviews, namespace: default, port: 9080}]}]}".to_owned(),
            "Accepted",
            "RefNotPermitted",
        ),
        ("nobody", "default", format!("{{parentRefs: [{{name: none}}], {rules}}}"), "NoMatchingParent", "ResolvedRefs"),
    ] {
        mesh.apply(&route(name, namespace, &spec));
        let wanted = [(accepted.to_owned(), resolved.to_owned())];
        assert_eq!(parents(&mesh, namespace, name), wanted, "{name}");
    }
    let names = [
        "default/front/listener/*.shop.example/80",
        "default/front/listener/*/80",
        "default/front/listener/a.shop.example/80",
    ];
    assert_eq!(mesh.names(ROUTER), names);
    let reviews = "default/reviews.default.svc.cluster.local/9080";
    assert_eq!(clusters(&mesh.router(names[2])), [reviews]);
    // Of the two routes without a host, the older.
    assert_eq!(clusters(&mesh.router(names[0])), [reviews, "-/invalid/0"]);
    let status = &mesh.statuses[&ObjectKey::new(Kind::Gateway, "default", "front")];
    let attached: Vec<_> = status["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["attachedRoutes"].as_u64().unwrap())
        .collect();
    assert_eq!(attached, [1, 3, 0]);
}

#[test]
fn a_listener_says_which_routes_it_takes_and_one_that_is_not_served_takes_none() {
    let mesh = bookinfo();
    let status = &mesh.statuses[&ObjectKey::new(Kind::Gateway, "default", "front")];
    let listeners = status["listeners"].as_array().unwrap();
    let kinds: Vec<_> = listeners
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["supportedKinds"].clone()))
        .collect();
    let http = serde_json::json!([
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
        {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"},
    ]);
    let none = serde_json::json!([]);
    assert_eq!(
        kinds,
        [("http", http.clone()), ("shop", http), ("tls", none)]
    );
}

#[test]
fn a_virtual_service_runs_at_the_istio_gateway_it_names() {
    let mut mesh = bookinfo();
    mesh.apply(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['default/*.book.example']}
    - {port: {number: 443, name: tls, protocol: HTTPS}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: books, namespace: default}
spec:
  hosts: [a.book.example, elsewhere.example]
  gateways: [istio-system/web]
  http:
    - match: [{uri: {exact: /productpage}, gateways: [istio-system/web]}, {uri: {exact: /never}, gateways: [mesh]}]
      route: [{destination: {host: reviews, port: {number: 9080}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost, namespace: default}
spec:
  hosts: [a.book.example]
  gateways: [web]
  http: [{route: [{destination: {host: reviews}}]}]
",
    );
    assert_eq!(mesh.gateway("default/front").ports, [80, 8080]);
    let router = mesh.router("default/front/listener/a.book.example/8080");
    let reviews = "default/reviews.default.svc.cluster.local/9080";
    assert_eq!(clusters(&router), [reviews]);
    assert_eq!(router.http[0].matches.len(), 1);
    let bound = |kind, place| {
        let (status, reason, _) = mesh.condition(kind, place, "ambit.io/Bound").unwrap();
        format!("{status} {reason}")
    };
    let vs = |name| bound(Kind::VirtualService, ("default", name));
    assert_eq!(vs("books"), "True Bound");
    assert_eq!(vs("lost"), "False NoGateway");
    let web = bound(Kind::IstioGateway, ("istio-system", "web"));
    assert_eq!(web, "False UnsupportedProtocol");
    let service = &mesh.generated[&ObjectKey::new(Kind::Service, "default", "front-istio")];
    let ports = service["spec"]["ports"].as_array().unwrap();
    let names: Vec<_> = ports.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["status-port", "http", "http-8080"]);
}

#[test]
fn a_service_may_ask_that_gateways_send_through_its_waypoint() {
    let mut mesh = crate::gateways::ready();
    mesh.apply(FRONT);
    let spec = "{parentRefs: [{name: front, sectionName: http}], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}";
    mesh.apply(&route("all", "default", spec));
    let router = "default/front/listener/*/80";
    let direct = "default/reviews.default.svc.cluster.local/9080";
    assert_eq!(clusters(&mesh.router(router)), [direct]);
    assert_eq!(mesh.cluster(direct).authority, "");

    let key = "default/reviews.default.svc.cluster.local";
    let address = mesh.service(key).addresses[0].address.clone();
    let ip = std::net::Ipv4Addr::from(<[u8; 4]>::try_from(address).unwrap());
    mesh.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: waypoint, istio.io/ingress-use-waypoint: 'true'}}}",
    );
    assert!(mesh.service(key).waypoint.is_some());
    let through = format!("{direct}@waypoint");
    assert_eq!(clusters(&mesh.router(router)), [through.as_str()]);
    assert_eq!(mesh.cluster(&through).authority, format!("{ip}:9080"));
    let endpoints = mesh.endpoints(&through);
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    assert!(endpoints[0].0.starts_with("waypoint-"), "{endpoints:?}");
    assert_eq!(endpoints[0].1, 15008);
    let accounts: Vec<_> = match mesh.audience(ambit_api::type_urls::CLUSTER, &through) {
        Audience::Gateways(accounts) => accounts.to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(accounts, ["default/front-istio"]);
}

#[test]
fn through_two_waypoints_each_gets_its_part_whatever_its_number_of_pods() {
    let mut mesh = crate::gateways::ready();
    mesh.apply(FRONT);
    let spec = "{parentRefs: [{name: front, sectionName: http}], rules: [{backendRefs: [{name: reviews, port: 9080}]}]}";
    mesh.apply(&route("all", "default", spec));
    let gateway = include_str!("../fixtures/waypoint.yaml");
    let gateway = gateway.split("---").nth(1).unwrap();
    mesh.apply(&gateway.replace("name: waypoint", "name: second"));
    let pods = mesh.generated.keys().filter(|key| key.kind == Kind::Pod);
    let pod = pods.map(|key| key.name.to_string());
    let pod = pod.into_iter().find(|name| name.starts_with("second-"));
    mesh.pod_runs(&pod.unwrap(), "10.244.1.98");
    let asks = |weight: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: reviews, namespace: default,
                labels: {{istio.io/use-waypoint: waypoint, istio.io/use-waypoint-canary: second, istio.io/ingress-use-waypoint: 'true'}},
                annotations: {{istio.io/use-waypoint-canary-weight: '{weight}'}}}},
              spec: {{clusterIP: 10.96.0.20, selector: {{app: reviews}}, ports: [{{name: http, port: 9080, targetPort: web}}]}}}}"
        )
    };
    let through = "default/reviews.default.svc.cluster.local/9080@waypoint";
    // Sum of the weights of ready pods by waypoint; which have taken 15008.
    let parts = |mesh: &Mesh| {
        let mut parts = std::collections::BTreeMap::new();
        for (pod, port, weight) in mesh.weights(through) {
            assert_eq!(port, 15008);
            let waypoint = pod.split('-').next().unwrap().to_owned();
            if pod != "waypoint-late" {
                *parts.entry(waypoint).or_insert(0) += weight;
            }
        }
        parts
    };
    let part = |name: &str, weight: u32| (name.to_owned(), weight);
    mesh.apply(&asks("25"));
    assert_eq!(
        parts(&mesh),
        [part("second", 25), part("waypoint", 75)].into()
    );
    let balancer = mesh.cluster(through).load_balancer();
    assert_eq!(balancer, ambit_api::route::LoadBalancer::RoundRobin);
    for (name, ready) in [("waypoint-more", "True"), ("waypoint-late", "False")] {
        mesh.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default, labels: {{gateway.networking.k8s.io/gateway-name: waypoint}}}}, \
               spec: {{nodeName: n1, containers: []}}, status: {{phase: Running, podIPs: [{{ip: 10.244.1.{}}}], \
               conditions: [{{type: Ready, status: '{ready}'}}]}}}}",
            name.len()
        ));
    }
    assert_eq!(
        parts(&mesh),
        [part("second", 50), part("waypoint", 150)].into()
    );
    mesh.apply(&asks("0"));
    assert_eq!(parts(&mesh), [part("waypoint", 2)].into());
    mesh.apply(&asks("100"));
    assert_eq!(parts(&mesh), [part("second", 1)].into());
}
