use crate::mesh::Mesh;
use ambit_api::type_urls::{ADDRESS, CLUSTER, ENDPOINTS, ROUTER};
use ambit_api::workload::gateway_address::Destination;
use ambit_api::workload::{GatewayAddress, TunnelProtocol};
use ambit_crds::{Kind, ObjectKey};
use ambit_index::Audience;

const REVIEWS: &str = "default/reviews.default.svc.cluster.local";

/// Bookinfo behind a waypoint that is ready.
pub(crate) fn ready() -> Mesh {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(include_str!("../fixtures/waypoint.yaml"));
    let pod = waypoint_pod(&mesh);
    mesh.pod_runs(&pod, "10.244.1.99");
    mesh
}

fn waypoint_pod(mesh: &Mesh) -> String {
    let pods: Vec<_> = mesh
        .generated
        .keys()
        .filter(|k| k.kind == Kind::Pod)
        .collect();
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods[0].name.to_string()
}

fn hostname(address: Option<GatewayAddress>) -> Option<String> {
    let address = address?;
    assert_eq!(address.hbone_mtls_port, 15008);
    match address.destination? {
        Destination::Hostname(h) => Some(format!("{}/{}", h.namespace, h.hostname)),
        Destination::Address(a) => panic!("{a:?}"),
    }
}

fn bound(mesh: &Mesh, service: &str) -> (String, String, String) {
    mesh.condition(
        Kind::Service,
        ("default", service),
        "istio.io/WaypointBound",
    )
    .unwrap()
}

#[test]
fn the_service_of_a_waypoint_has_an_address_of_each_family_that_nodes_have() {
    let cases = [
        ("", &["10.96."][..]),
        ("['10.244.1.0/24']", &["10.96."]),
        (
            "['10.244.1.0/24', 'fd00:10:244:1::/64']",
            &["10.96.", "fd00:10:96::8000:"],
        ),
        ("['fd00:10:244:1::/64']", &["fd00:10:96::8000:"]),
    ];
    for (ranges, wanted) in cases {
        let mut mesh = Mesh::new(include_str!("../fixtures/waypoint.yaml"));
        let ranges = if ranges.is_empty() { "[]" } else { ranges };
        mesh.apply(&format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n1}}, spec: {{podCIDRs: {ranges}}}}}"
        ));
        let key = ObjectKey::new(Kind::Service, "default", "waypoint");
        let spec = mesh.generated[&key]["spec"].clone();
        let ips: Vec<&str> = spec["clusterIPs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|ip| ip.as_str())
            .collect();
        assert_eq!(ips.len(), wanted.len(), "{ranges}: {spec}");
        assert!(
            ips.iter()
                .zip(wanted)
                .all(|(ip, start)| ip.starts_with(start)),
            "{ranges}: {spec}"
        );
        assert_eq!(spec["clusterIP"], ips[0]);
    }
}

#[test]
fn a_gateway_gets_account_service_and_pod_and_then_an_address() {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(include_str!("../fixtures/waypoint.yaml"));
    let generated = |kind, name: &str| &mesh.generated[&ObjectKey::new(kind, "default", name)];
    generated(Kind::ServiceAccount, "waypoint");
    let service = generated(Kind::Service, "waypoint");
    let ip = service["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let ports: Vec<_> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [15021, 15008]);
    let name = waypoint_pod(&mesh);
    let pod = generated(Kind::Pod, &name);
    assert!(name.starts_with("waypoint-"));
    assert_eq!(pod["spec"]["nodeName"], "n1", "the node with fewer pods");
    assert_eq!(pod["spec"]["serviceAccountName"], "waypoint");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "ambit/waypoint");
    assert_eq!(container["env"][0]["value"], "default/waypoint");
    assert_eq!(
        container["readinessProbe"]["httpGet"]["path"],
        "/healthz/ready"
    );
    assert_eq!(pod["metadata"]["labels"]["istio.io/dataplane-mode"], "none");
    assert_eq!(
        pod["metadata"]["labels"]["gateway.istio.io/managed"],
        "istio.io-mesh-controller"
    );

    let programmed = |mesh: &Mesh| {
        mesh.condition(Kind::Gateway, ("default", "waypoint"), "Programmed")
            .unwrap()
    };
    assert_eq!(
        (&*programmed(&mesh).0, &*programmed(&mesh).1),
        ("False", "Pending")
    );
    assert_eq!(
        mesh.service(REVIEWS).waypoint,
        None,
        "until it is ready traffic goes at L4"
    );
    let (status, reason, _) = bound(&mesh, "reviews");
    assert_eq!((&*status, &*reason), ("False", "WaypointIsNotReady"));

    mesh.pod_runs(&name, "10.244.1.99");
    assert_eq!(programmed(&mesh).0, "True");
    let key = ObjectKey::new(Kind::Gateway, "default", "waypoint");
    assert_eq!(mesh.statuses[&key]["addresses"][0]["value"], ip.as_str());
    assert_eq!(
        bound(&mesh, "reviews"),
        (
            "True".into(),
            "WaypointAccepted".into(),
            "Successfully attached to waypoint default/waypoint".into()
        )
    );
    let waypoint = hostname(mesh.service(REVIEWS).waypoint);
    assert_eq!(
        waypoint.as_deref(),
        Some("default/waypoint.default.svc.cluster.local")
    );
    let own = mesh.pod("default", &name);
    assert!(own.native_tunnel && own.tunnel_protocol() == TunnelProtocol::Hbone);
    assert_eq!((own.waypoint, &*own.service_account), (None, "waypoint"));
    assert_eq!(
        mesh.service("default/waypoint.default.svc.cluster.local")
            .waypoint,
        None
    );
    assert_eq!(
        mesh.pod("default", "reviews-v1").waypoint,
        None,
        "it serves services only"
    );
}

#[test]
fn routers_clusters_and_endpoints_are_for_that_gateway_only() {
    let mesh = ready();
    let router = mesh.router("default/waypoint/default/reviews.default.svc.cluster.local/9080");
    assert_eq!(
        (&*router.gateway, &*router.service, router.port),
        ("default/waypoint", REVIEWS, 9080)
    );
    assert_eq!((router.http.len(), &*router.http[0].source), (1, "default"));
    assert_eq!(router.http[0].retry.as_ref().unwrap().attempts, 2);
    let cluster = format!("{REVIEWS}/9080");
    assert_eq!(mesh.cluster(&cluster).gateways, ["default/waypoint"]);
    assert_eq!(
        mesh.endpoints(&cluster),
        [("reviews-v1".into(), 9080), ("reviews-v2".into(), 9081)]
    );
    for (type_url, name) in [(CLUSTER, &cluster), (ENDPOINTS, &cluster)] {
        assert_eq!(
            mesh.audience(type_url, name),
            Audience::Gateways(["default/waypoint".to_owned()].into())
        );
    }
    let ratings = |port: u16| {
        mesh.router(&format!(
            "default/waypoint/default/ratings.default.svc.cluster.local/{port}"
        ))
    };
    assert_eq!(
        (ratings(9000).http.len(), ratings(9000).tcp.len()),
        (0, 1),
        "TCP by its name"
    );
    assert_eq!(
        (ratings(9001).http.len(), ratings(9001).tcp.len()),
        (1, 1),
        "sniffed"
    );
    assert!(
        mesh.index
            .gateway_accounts()
            .iter()
            .eq(["default/waypoint"])
    );
    assert!(
        mesh.names(ROUTER)
            .iter()
            .all(|name| !name.contains("/waypoint.default")),
        "no router for itself"
    );
}

#[test]
fn a_waypoint_that_is_gone_refuses_and_one_that_never_was_does_not() {
    let mut mesh = ready();
    mesh.delete(Kind::Gateway, "default", "waypoint");
    let waypoint = hostname(mesh.service(REVIEWS).waypoint.clone());
    assert_eq!(
        waypoint.as_deref(),
        Some("default/waypoint.default.svc.cluster.local")
    );
    assert_eq!(bound(&mesh, "reviews").1, "WaypointIsGone");
    assert!(mesh.generated.is_empty(), "{:?}", mesh.generated.keys());
    assert!(mesh.names(ROUTER).is_empty());
    assert!(!mesh.has(ADDRESS, "default/waypoint.default.svc.cluster.local"));

    mesh.apply("{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: default},
      spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}");
    assert_eq!(
        hostname(mesh.service(REVIEWS).waypoint.clone()),
        waypoint,
        "made again, it refuses until it is ready"
    );
    assert_eq!(bound(&mesh, "reviews").1, "WaypointIsGone");

    let mut never = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    never.apply("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: nobody}}}");
    assert_eq!(never.service(REVIEWS).waypoint, None);
    assert_eq!(bound(&never, "reviews").1, "WaypointIsNotReady");
    never.apply("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: nobody, ambit.io/require-waypoint: 'true'}}}");
    assert!(
        never.service(REVIEWS).waypoint.is_some(),
        "where the namespace asks for it, traffic waits"
    );
}

#[test]
fn the_status_of_a_service_remembers_a_waypoint_across_restarts() {
    let mesh = Mesh::new(
        "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: default, labels: {istio.io/use-waypoint: w}},
          spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]},
          status: {conditions: [{type: istio.io/WaypointBound, status: 'True', reason: WaypointAccepted,
            message: Successfully attached to waypoint default/w, lastTransitionTime: '2026-01-01T00:00:00Z'}]}}",
    );
    assert!(
        mesh.service("default/s.default.svc.cluster.local")
            .waypoint
            .is_some()
    );
    assert_eq!(bound(&mesh, "s").1, "WaypointIsGone");
}

#[test]
fn labels_of_the_object_hide_those_of_the_namespace() {
    let mut mesh = ready();
    let service = |labels: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: reviews, namespace: default, labels: {labels}}},
              spec: {{clusterIP: 10.96.0.20, selector: {{app: reviews}}, ports: [{{name: http, port: 9080, targetPort: web}}]}}}}"
        )
    };
    mesh.apply(&service("{istio.io/use-waypoint: none}"));
    assert_eq!(mesh.service(REVIEWS).waypoint, None);
    assert_eq!(
        mesh.condition(
            Kind::Service,
            ("default", "reviews"),
            "istio.io/WaypointBound"
        ),
        None
    );
    mesh.apply(&service("{istio.io/use-waypoint: other}"));
    assert_eq!(
        mesh.service(REVIEWS).waypoint,
        None,
        "no fallback to the namespace"
    );
    assert_eq!(bound(&mesh, "reviews").1, "WaypointIsNotReady");
}

#[test]
fn other_namespaces_need_permission_and_the_traffic_type_must_fit() {
    let gateway = |listener: &str, purpose: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway,
              metadata: {{name: shared, namespace: infra, labels: {{istio.io/waypoint-for: {purpose}}}}},
              spec: {{gatewayClassName: third-party, listeners: [{{name: mesh, port: 15008, protocol: HBONE{listener}}}]}},
              status: {{addresses: [{{type: IPAddress, value: 10.9.9.9}}]}}}}"
        )
    };
    let all = ", allowedRoutes: {namespaces: {from: All}}";
    let some =
        ", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}";
    for (listener, purpose, reason) in [
        ("", "service", "AttachmentDenied"),
        (all, "service", "WaypointAccepted"),
        (some, "service", "AttachmentDenied"),
        (all, "workload", "UnsupportedTrafficType"),
        (all, "all", "WaypointAccepted"),
    ] {
        let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
        mesh.apply(&gateway(listener, purpose));
        mesh.apply("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: shared, istio.io/use-waypoint-namespace: infra}}}");
        assert_eq!(bound(&mesh, "reviews").1, reason, "{listener} {purpose}");
        let service = mesh
            .service(REVIEWS)
            .waypoint
            .map(|w| w.destination.unwrap());
        let accepted = reason == "WaypointAccepted";
        assert_eq!(service.is_some(), accepted);
        if let Some(Destination::Address(address)) = service {
            assert_eq!(address.address, [10, 9, 9, 9]);
        }
        let pod = mesh.pod("default", "reviews-v1").waypoint;
        assert_eq!(pod.is_some(), purpose != "service" && listener == all);
        assert!(mesh.names(ROUTER).is_empty(), "we do not run it");
        assert!(mesh.generated.is_empty());
    }
}

#[test]
fn a_pod_moves_when_its_node_goes_and_the_old_one_stays_until_then() {
    let mut mesh = ready();
    let first = waypoint_pod(&mesh);
    mesh.delete(Kind::Node, "", "n1");
    let pods: Vec<_> = mesh
        .generated
        .keys()
        .filter(|k| k.kind == Kind::Pod)
        .map(|k| k.name.to_string())
        .collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    let second = pods.into_iter().find(|name| *name != first).unwrap();
    mesh.pod_runs(&second, "10.244.2.99");
    assert_eq!(waypoint_pod(&mesh), second);
}

#[test]
fn without_a_node_the_gateway_says_so() {
    let mesh = Mesh::new(include_str!("../fixtures/waypoint.yaml"));
    let said = mesh
        .condition(Kind::Gateway, ("default", "waypoint"), "Programmed")
        .unwrap();
    assert_eq!((&*said.0, &*said.1), ("False", "NoResources"));
}

#[test]
fn a_canary_takes_its_part_of_a_service_and_a_wrong_one_nothing() {
    let mut mesh = ready();
    let second = include_str!("../fixtures/waypoint.yaml")
        .split("---")
        .nth(1);
    mesh.apply(&second.unwrap().replace("name: waypoint", "name: second"));
    let with = |canary: &str, weight: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: reviews, namespace: default,
                labels: {{istio.io/use-waypoint: waypoint, istio.io/use-waypoint-canary: {canary}}},
                annotations: {{istio.io/use-waypoint-canary-weight: '{weight}'}}}},
              spec: {{clusterIP: 10.96.0.20, selector: {{app: reviews}}, ports: [{{name: http, port: 9080, targetPort: web}}]}}}}"
        )
    };
    let shares = |mesh: &Mesh| {
        let service = mesh.service(REVIEWS);
        let first = hostname(service.waypoint).unwrap();
        assert_eq!(first, "default/waypoint.default.svc.cluster.local");
        let parts = service.weighted_waypoints.into_iter();
        let named = |destination| {
            hostname(destination)
                .unwrap()
                .split('.')
                .next()
                .unwrap()
                .to_owned()
        };
        let parts = parts.map(|part| (named(part.destination), part.weight));
        parts.collect::<Vec<_>>()
    };
    let router = "default/second/default/reviews.default.svc.cluster.local/9080";
    mesh.apply(&with("second", "25"));
    assert_eq!(shares(&mesh), [], "it is not ready");
    let pods = mesh.generated.keys().filter(|k| k.kind == Kind::Pod);
    let pod = pods.map(|k| k.name.to_string());
    let pod = pod.into_iter().find(|name| name.starts_with("second"));
    mesh.pod_runs(&pod.unwrap(), "10.244.1.98");
    let parts = |first, second| {
        [
            ("default/waypoint".to_owned(), first),
            ("default/second".to_owned(), second),
        ]
    };
    assert_eq!(shares(&mesh), parts(75, 25));
    assert!(mesh.has(ROUTER, router), "both run its routes");
    let said = bound(&mesh, "reviews");
    assert_eq!(
        (&*said.0, &*said.1, &*said.2),
        (
            "True",
            "WaypointAccepted",
            "Successfully attached to waypoint default/waypoint; 25 of 100 connections go to canary default/second"
        )
    );
    for (canary, weight, reason) in [
        ("second", "101", "CanaryInvalidWeight"),
        ("second", "many", "CanaryInvalidWeight"),
        ("waypoint", "25", "CanarySameAsPrimary"),
        ("nobody", "25", "WaypointAccepted"),
    ] {
        mesh.apply(&with(canary, weight));
        assert_eq!(shares(&mesh), [], "{canary} {weight}");
        assert_eq!(bound(&mesh, "reviews").1, reason);
        assert!(!mesh.has(ROUTER, router), "{canary} {weight}");
    }
    mesh.apply(&with("second", "100"));
    assert_eq!(shares(&mesh), parts(0, 100));
}

#[test]
fn without_a_cluster_a_former_account_is_served_while_its_process_may_end() {
    let mut mesh = ready();
    let gateway = include_str!("../fixtures/waypoint.yaml")
        .split("---")
        .nth(1);
    let annotated = "namespace: default, annotations: {gateway.istio.io/service-account: runner}";
    mesh.apply(&gateway.unwrap().replace("namespace: default", annotated));
    let is_new = |mesh: &Mesh, key: &ObjectKey| {
        key.kind == Kind::Pod && mesh.generated[key]["spec"]["serviceAccountName"] == "runner"
    };
    let new = mesh.generated.keys().find(|key| is_new(&mesh, key));
    let new = new.unwrap().name.clone();
    mesh.pod_runs(&new, "10.244.1.97");
    let pods: Vec<_> = mesh.generated.keys().collect();
    let pods: Vec<_> = pods.iter().filter(|k| k.kind == Kind::Pod).collect();
    assert!(
        pods.len() == 1 && is_new(&mesh, pods[0]),
        "the old one is gone"
    );
    let both = ["default/runner", "default/waypoint"];
    assert!(mesh.index.gateway_accounts().iter().eq(both));
    let audience = Audience::Gateways(both.map(str::to_owned).into());
    let router = "default/waypoint/default/reviews.default.svc.cluster.local/9080";
    assert_eq!(mesh.audience(ROUTER, router), audience);
}
