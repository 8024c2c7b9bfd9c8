use crate::mesh::Mesh;
use ambit_api::type_urls::ADDRESS;
use ambit_api::workload::load_balancing::{HealthPolicy, Mode, Scope};
use ambit_api::workload::{AppProtocol, IpFamilies, LoadBalancing};
use ambit_crds::Kind;
use ambit_index::Audience;

fn service(spec: &str) -> Mesh {
    Mesh::new(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: ns}}, spec: {spec}}}"
    ))
}

const KEY: &str = "ns/s.ns.svc.cluster.local";

#[test]
fn names_addresses_ports_and_aliases() {
    let mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    let key = "default/ratings.default.svc.cluster.local";
    let s = mesh.service(key);
    assert_eq!((&*s.name, &*s.namespace), ("ratings", "default"));
    assert_eq!(s.hostname, "ratings.default.svc.cluster.local");
    assert_eq!(s.addresses[0].address, [10, 96, 0, 21]);
    assert_eq!(s.addresses[0].length, None);
    assert!(s.canonical && s.waypoint.is_none());
    let ports: Vec<_> = s
        .ports
        .iter()
        .map(|p| (p.service_port, p.target_port, p.app_protocol()))
        .collect();
    assert_eq!(
        ports,
        [
            (9080, 9080, AppProtocol::Http11),
            (9000, 9000, AppProtocol::Tcp),
            (9001, 9001, AppProtocol::Unknown)
        ]
    );
    assert_eq!(mesh.aliases(key), ["/10.96.0.21"]);
    assert_eq!(mesh.audience(ADDRESS, key), Audience::Everyone);
    let reviews = mesh.service("default/reviews.default.svc.cluster.local");
    assert_eq!(
        reviews.ports[0].target_port, 0,
        "named ports are the endpoints' matter"
    );
}

#[test]
fn headless_external_and_missing_addresses_differ() {
    let headless = service("{clusterIP: None, ports: [{port: 80}]}");
    assert!(headless.service(KEY).addresses.is_empty());
    let external = service("{type: ExternalName, externalName: example.com}");
    assert!(!external.has(ADDRESS, KEY));
    for (spec, word) in [
        ("{ports: [{port: 80}]}", "give an address"),
        ("{clusterIP: ten, ports: [{port: 80}]}", "`ten` is not"),
    ] {
        let mesh = service(spec);
        assert!(!mesh.has(ADDRESS, KEY));
        let said = mesh
            .condition(Kind::Service, ("ns", "s"), "ambit.io/Accepted")
            .unwrap();
        assert_eq!(said.0, "False");
        assert!(
            said.2.starts_with("spec.clusterIP: ") && said.2.contains(word),
            "{}",
            said.2
        );
    }
}

#[test]
fn families_follow_the_spec_and_udp_is_left_out() {
    let mesh = service(
        "{clusterIPs: [10.96.0.5, 'fd00::5'], clusterIP: 10.96.0.5, ipFamilies: [IPv4, IPv6],
          ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}",
    );
    let s = mesh.service(KEY);
    assert_eq!(s.ip_families(), IpFamilies::Dual);
    assert_eq!((s.addresses.len(), s.ports.len()), (2, 1));
}

#[test]
fn load_balancing_says_what_the_spec_prefers() {
    use Scope::{Network, Node, Region, Subzone, Zone};
    let of = |extra: &str| {
        service(&format!("{{clusterIP: 10.96.0.5, {extra}}}"))
            .service(KEY)
            .load_balancing
    };
    let expect = |mode: Mode, scopes: &[Scope], health: HealthPolicy| {
        Some(LoadBalancing {
            mode: mode.into(),
            routing_preference: scopes.iter().map(|s| (*s).into()).collect(),
            health_policy: health.into(),
        })
    };
    let healthy = HealthPolicy::OnlyHealthy;
    assert_eq!(of("ports: []"), None);
    assert_eq!(
        of("internalTrafficPolicy: Local"),
        expect(Mode::Strict, &[Node], healthy)
    );
    for near in ["PreferClose", "PreferSameZone"] {
        let near = of(&format!("trafficDistribution: {near}"));
        assert_eq!(
            near,
            expect(Mode::Failover, &[Network, Region, Zone], healthy)
        );
    }
    assert_eq!(
        of("trafficDistribution: PreferSameNode"),
        expect(
            Mode::Failover,
            &[Network, Region, Zone, Subzone, Node],
            healthy
        )
    );
    assert_eq!(
        of("publishNotReadyAddresses: true"),
        expect(Mode::UnspecifiedMode, &[], HealthPolicy::AllowAll)
    );
}

#[test]
fn a_change_of_one_service_changes_one_resource() {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: ratings, namespace: default},
          spec: {clusterIP: 10.96.0.99, selector: {app: ratings}, ports: [{name: http, port: 9080}, {name: tcp-raw, port: 9000}, {port: 9001}]}}",
    );
    assert_eq!(
        mesh.changed,
        [(
            ADDRESS,
            "default/ratings.default.svc.cluster.local".to_owned()
        )]
    );
    mesh.delete(Kind::Service, "default", "ratings");
    assert!(!mesh.has(ADDRESS, "default/ratings.default.svc.cluster.local"));
    assert_eq!(mesh.pod("default", "ratings-v1").services.len(), 0);
}
