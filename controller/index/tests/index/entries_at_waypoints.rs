use crate::mesh::Mesh;
use crate::service_entries::{condition, document};
use ambit_api::type_urls::{CLUSTER, ROUTER};
use ambit_api::workload::load_balancing::Mode;
use ambit_crds::{Kind, ObjectKey};

const WAYPOINT: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w, namespace: ns}, spec: {
  gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]},
  status: {addresses: [{type: IPAddress, value: 10.96.0.50}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry,
  metadata: {name: e, namespace: ns, labels: {istio.io/use-waypoint: w}}, spec: {
  hosts: [x.org, y.org], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry,
  metadata: {name: raw, namespace: ns, labels: {istio.io/use-waypoint: w}}, spec: {
  hosts: [z.org], resolution: NONE, addresses: [10.0.0.1], ports: [{number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: ns}, spec: {
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: e}], rules: [
    {matches: [{path: {value: /y}}], backendRefs: [{group: networking.istio.io, kind: Hostname, name: y.org, port: 80}]},
    {backendRefs: [{group: networking.istio.io, kind: Hostname, name: x.org, port: 80}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: ns}, spec: {
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: e}], rules: [{}]}}";

#[test]
fn waypoints_serve_entries_with_their_routes_and_policies() {
    let mesh = Mesh::new(WAYPOINT);
    for host in ["x.org", "y.org"] {
        assert!(mesh.service(&format!("ns/{host}")).waypoint.is_some());
        let router = mesh.router(&format!("ns/w/ns/{host}/80"));
        assert_eq!(router.http.len(), 2);
        assert!(router.http[0].source.starts_with("HTTPRoute ns/r"));
        assert_eq!(router.policies.len(), 1);
        let hosts = mesh.endpoints(&format!("ns/{host}/80"));
        assert_eq!(hosts, [(host.to_owned(), 80)]);
    }
    let bound = condition(&mesh, "e", "istio.io/WaypointBound").unwrap();
    assert_eq!((&*bound.0, &*bound.1), ("True", "WaypointAccepted"));
    let raw = mesh.service("ns/z.org");
    assert!(raw.waypoint.is_some() && raw.load_balancing.unwrap().mode() == Mode::Passthrough);
    assert!(mesh.endpoints("ns/z.org/80").is_empty());
    let policy = mesh.condition(Kind::AuthorizationPolicy, ("ns", "p"), "WaypointAccepted");
    assert_eq!(policy.unwrap().0, "True");
    let route = &mesh.statuses[&ObjectKey::new(Kind::HttpRoute, "ns", "r")]["parents"][0];
    assert_eq!(route["parentRef"]["kind"], "ServiceEntry");
    let met = route["conditions"].as_array().unwrap();
    assert!(met.iter().all(|c| c["status"] == "True"), "{route:#}");
    assert_eq!(mesh.names(ROUTER).len(), 3);
}

#[test]
fn a_virtual_service_leads_to_the_entry_its_namespace_means() {
    let vs = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: ns},
        spec: {hosts: [x.org], http: [{route: [{destination: {host: y.org}}]}]}}";
    let abroad = document("a", "", "{hosts: [y.org], addresses: [10.0.0.7], resolution: NONE, ports: [{number: 80, name: http}]}")
        .replace("namespace: ns", "namespace: far");
    let plain = WAYPOINT.replace("kind: HTTPRoute", "kind: TCPRoute");
    let mesh = Mesh::new(&format!("{plain}\n---\n{vs}\n---\n{abroad}"));
    let router = mesh.router("ns/w/ns/x.org/80");
    let text = format!("{:?}", router.http);
    assert!(
        text.contains("ns/y.org/80") && !text.contains("far/"),
        "{text}"
    );
}

#[test]
fn a_service_that_is_not_exported_is_no_destination_abroad() {
    let vs = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: ns},
        spec: {hosts: [x.org], http: [{route: [{destination: {host: b.far.svc.cluster.local}}]}]}}";
    let plain = WAYPOINT.replace("kind: HTTPRoute", "kind: TCPRoute");
    // One after the other: each is what the next changes.
    let mut mesh = Mesh::new(&format!("{plain}\n---\n{vs}"));
    for (export, seen) in [
        ("", true),
        ("'*'", true),
        ("'other, ns'", true),
        ("'.'", false),
        ("other", false),
        ("'~'", false),
    ] {
        let service = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: b, namespace: far, annotations: {{
              networking.istio.io/exportTo: {export}}}}}, spec: {{clusterIP: None, ports: [{{port: 80}}]}}}}"
        );
        let service = service.replace("exportTo: }", "exportTo: ''}");
        mesh.apply(&service);
        let cluster = "far/b.far.svc.cluster.local/80";
        assert_eq!(mesh.has(CLUSTER, cluster), seen, "{export}");
    }
}

#[test]
fn an_entry_whose_waypoint_is_abroad_keeps_to_its_namespace() {
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w, namespace: far}, spec: {
      gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE,
        allowedRoutes: {namespaces: {from: All}}}]}, status: {addresses: [{type: IPAddress, value: 10.96.0.50}]}}";
    let labels = ", labels: {istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: far}";
    let spec = |export: &str| {
        format!(
            "{{hosts: [x.org], resolution: DNS, exportTo: [{export}], ports: [{{number: 80, name: http}}]}}"
        )
    };
    for (export, reason) in [
        ("'*'", "WaypointAccepted"),
        ("'.'", "CrossNamespaceWaypointForbidden"),
    ] {
        let mesh = Mesh::new(&format!(
            "{gateway}\n---\n{}",
            document("e", labels, &spec(export))
        ));
        let bound = condition(&mesh, "e", "istio.io/WaypointBound").unwrap();
        assert_eq!(bound.1, reason);
        assert_eq!(mesh.service("ns/x.org").waypoint.is_some(), export == "'*'");
    }
}

const EGRESS: &str = "
{apiVersion: networking.istio.io/v1, kind: ServiceEntry,
  metadata: {name: e, namespace: ns, labels: {istio.io/use-waypoint: w}}, spec: {
  hosts: ['*.x.org'], resolution: DYNAMIC_DNS, ports: [
    {number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 443, name: tls, protocol: TLS}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: ns},
  spec: {hosts: ['*.x.org'], http: [{match: [{uri: {prefix: /no}}], directResponse: {status: 299}},
    {route: [{destination: {host: '*.x.org', port: {number: 80}}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: ns}, spec: {
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: e}], rules: [{}]}}";

fn gateway() -> &'static str {
    WAYPOINT.split("---").next().unwrap()
}

#[test]
fn a_waypoint_resolves_hosts_below_a_wildcard() {
    let mesh = Mesh::new(&format!("{}---{EGRESS}", gateway()));
    let service = mesh.service("ns/*.x.org");
    assert_eq!(service.addresses[0].address[..2], [240, 240]);
    assert!(service.waypoint.is_some());
    let router = mesh.router("ns/w/ns/*.x.org/80");
    assert!(router.by_host && router.tcp.is_empty());
    assert_eq!((router.http.len(), router.policies.len()), (2, 1));
    let cluster = mesh.cluster("ns/*.x.org/80");
    assert_eq!((cluster.by_host_port, cluster.race), (8080, false));
    assert!(mesh.endpoints("ns/*.x.org/80").is_empty());
    // Names of TLS are not followed: whatever comes there is refused.
    let tls = mesh.router("ns/w/ns/*.x.org/443");
    assert!(tls.http.is_empty() && tls.tcp.is_empty());
    assert_eq!(condition(&mesh, "e", "istio.io/WaypointMissing"), None);
    let accepted = condition(&mesh, "e", "ambit.io/Accepted").unwrap();
    assert!(accepted.2.contains("port 443 are refused"), "{accepted:?}");
}

#[test]
fn what_only_a_waypoint_does_is_missed_without_one() {
    let missing = |documents: &str| {
        let mesh = Mesh::new(documents);
        let said = condition(&mesh, "e", "istio.io/WaypointMissing");
        let accepted = condition(&mesh, "e", "ambit.io/Accepted").unwrap().0;
        said.map(|(status, reason, _)| (status, reason, accepted))
    };
    let told = |reason: &str| Some(("True".to_owned(), reason.to_owned(), "True".to_owned()));
    assert_eq!(missing(EGRESS), told("NoWaypointForWildcardService"));
    let race = |strategy: &str, resolution: &str| {
        document(
            "e",
            &format!(
                ", labels: {{istio.io/use-waypoint: w}}, annotations: {{istio.io/connect-strategy: {strategy}}}"
            ),
            &format!(
                "{{hosts: [x.org], resolution: {resolution}, ports: [{{number: 80, name: http}}]}}"
            ),
        )
    };
    let reason = told("NoWaypointForRacingConnectStrategy");
    assert_eq!(missing(&race("RACE_FIRST_TCP_CONNECT", "DNS")), reason);
    assert_eq!(missing(&race("RACE_FIRST_TCP_CONNECT", "NONE")), None);
    assert_eq!(missing(&race("OTHER", "DNS")), None);
    let entry = race("race_first_tcp_connect", "DNS");
    let bound = format!("{}---\n{entry}", gateway());
    assert_eq!(missing(&bound), None);
    assert!(Mesh::new(&bound).cluster("ns/x.org/80").race);
}
