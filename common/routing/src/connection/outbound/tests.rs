use super::super::fixture::*;
use super::*;
use ambit_api::workload as pb;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashMap;

fn run(snapshot: &Snapshot, source: &str, to: &str) -> Decided {
    let conn = CapturedConn::new(named(snapshot, source), "".into(), to.parse().unwrap());
    decide(snapshot, &conn, &mut StdRng::seed_from_u64(7))
}

/// A decision in one line.
fn brief(snapshot: &Snapshot, source: &str, to: &str) -> String {
    match run(snapshot, source, to).decision {
        Decision::Dial(u) => {
            let protocol = match &u.protocol {
                Protocol::Tcp => "tcp".to_owned(),
                Protocol::Hbone {
                    expected,
                    authority,
                } => {
                    let accounts: Vec<_> = expected.iter().map(|e| e.service_account()).collect();
                    format!("hbone {authority} as {}", accounts.join("|"))
                }
            };
            let service = u.service.map_or("-".into(), |s| s.name.to_string());
            format!(
                "{:?} {} {protocol} {} {service}",
                u.via, u.address, u.workload.name
            )
        }
        Decision::PassThrough { to, .. } => format!("pass {to}"),
        Decision::Deny(denial) => format!("deny {denial}"),
        Decision::Need(ResourceName::Hostname(h)) => format!("need {h}"),
    }
}

/// One of everything a pod may dial.
fn assorted() -> Snapshot {
    let plain = |mut w: pb::Workload| {
        w.tunnel_protocol = pb::TunnelProtocol::None.into();
        w
    };
    let mut fronted = svc("fronted", "10.96.0.2");
    fronted.waypoint = Some(gateway("wp"));
    let mut lost = svc("lost", "10.96.0.3");
    lost.waypoint = Some(gateway("nobody"));
    let mut by_ip = pod("by-ip", "10.0.0.6");
    by_ip.waypoint = Some(gateway_ip("10.96.0.9"));
    let mut by_pod_ip = pod("by-pod-ip", "10.0.0.7");
    by_pod_ip.waypoint = Some(gateway_ip("10.0.0.9"));
    let mut passing = svc("passing", "10.96.0.4");
    passing.load_balancing = Some(pb::LoadBalancing {
        mode: pb::load_balancing::Mode::Passthrough.into(),
        ..Default::default()
    });
    let mut vouched = svc("vouched", "10.96.0.7");
    vouched.subject_alt_names = vec!["spiffe://cluster.local/ns/x/sa/extra".into()];
    let mut named_port = svc("named", "10.96.0.8");
    named_port.ports = vec![port(80, 0)];
    let (wp_pod, wp_svc) = waypoint("wp", "10.96.0.9", "10.0.0.9");
    let mut remote = backing(pod("remote", "10.0.9.9"), "remote", vec![port(80, 8080)]);
    remote.network = "other".into();
    let mut by_name = backing(pod("by-name", ""), "external", vec![port(80, 8080)]);
    by_name.hostname = "db.example.com".into();
    let looping = backing(pod("loop", "10.0.0.12"), "loop", vec![port(80, 15008)]);
    let workloads = vec![
        pod("client", "10.0.0.1"),
        backing(pod("web", "10.0.0.2"), "web", vec![port(80, 8080)]),
        plain(pod("legacy", "10.0.0.3")),
        backing(pod("fronted-pod", "10.0.0.4"), "fronted", vec![]),
        by_ip,
        by_pod_ip,
        backing(pod("vouched-pod", "10.0.0.10"), "vouched", vec![]),
        backing(pod("named-pod", "10.0.0.11"), "named", vec![port(80, 9090)]),
        wp_pod,
        remote,
        by_name,
        looping,
    ];
    let services = vec![
        svc("web", "10.96.0.1"),
        fronted,
        lost,
        passing,
        svc("empty", "10.96.0.5"),
        svc("remote", "10.96.0.6"),
        vouched,
        named_port,
        wp_svc,
        svc("external", "10.96.0.20"),
        svc("loop", "10.96.0.21"),
    ];
    mesh(workloads, services)
}

#[test]
fn each_destination_gets_its_next_hop() {
    let s = assorted();
    #[rustfmt::skip]
    let table = [
        ("client", "10.96.0.1:80", "Direct 10.0.0.2:15008 hbone 10.0.0.2:8080 as web web web"),
        ("client", "[::ffff:10.96.0.1]:80", "Direct 10.0.0.2:15008 hbone 10.0.0.2:8080 as web web web"),
        ("client", "10.0.0.2:9000", "Direct 10.0.0.2:15008 hbone 10.0.0.2:9000 as web web -"),
        ("client", "10.0.0.3:80", "Direct 10.0.0.3:80 tcp legacy -"),
        ("client", "10.96.0.2:80", "Waypoint 10.0.0.9:15008 hbone 10.96.0.2:80 as wp-pod wp-pod fronted"),
        ("client", "10.0.0.4:80", "Direct 10.0.0.4:15008 hbone 10.0.0.4:80 as fronted-pod fronted-pod -"),
        ("wp-pod", "10.96.0.2:80", "Direct 10.0.0.4:15008 hbone 10.0.0.4:8080 as fronted-pod fronted-pod fronted"),
        ("client", "10.96.0.3:80", "deny unknown waypoint shop/nobody.shop.svc.cluster.local:15008"),
        ("client", "10.0.0.6:81", "Waypoint 10.0.0.9:15008 hbone 10.0.0.6:81 as wp-pod wp-pod -"),
        ("client", "10.0.0.7:81", "Waypoint 10.0.0.9:15008 hbone 10.0.0.7:81 as wp-pod wp-pod -"),
        ("wp-pod", "10.0.0.7:81", "Direct 10.0.0.7:15008 hbone 10.0.0.7:81 as by-pod-ip by-pod-ip -"),
        ("client", "10.96.0.4:80", "pass 10.96.0.4:80"),
        ("client", "1.1.1.1:443", "pass 1.1.1.1:443"),
        ("client", "10.96.0.5:80", "deny no healthy upstream: none of 0 endpoints of shop/empty.shop.svc.cluster.local takes port 80"),
        ("client", "10.96.0.1:81", "deny no healthy upstream: service shop/web.shop.svc.cluster.local has no port 81"),
        ("client", "10.96.0.6:80", "deny not supported yet: the destination is in another network, `other`"),
        ("client", "10.96.0.7:80", "Direct 10.0.0.10:15008 hbone 10.0.0.10:8080 as extra|vouched-pod vouched-pod vouched"),
        ("client", "10.96.0.8:80", "Direct 10.0.0.11:15008 hbone 10.0.0.11:9090 as named-pod named-pod named"),
        ("client", "10.96.0.20:80", "need db.example.com"),
        ("client", "10.96.0.21:80", "deny attempted recursive call to ourselves: port 15008 is reserved"),
        ("client", "127.0.0.1:15001", "deny attempted recursive call to ourselves: port 15001 is reserved"),
        ("client", "10.0.0.2:15008", "deny attempted recursive call to ourselves: port 15008 is reserved"),
    ];
    for (source, to, expected) in table {
        assert_eq!(brief(&s, source, to), expected, "{source} → {to}");
    }
}

#[test]
fn a_resolved_name_is_dialled_in_the_family_that_was_asked() {
    let mut w = backing(pod("by-name", ""), "external", vec![port(80, 8080)]);
    w.hostname = "db.example.com".into();
    w.tunnel_protocol = pb::TunnelProtocol::None.into();
    let s = mesh(
        vec![pod("client", "10.0.0.1"), w],
        vec![svc("external", "10.96.0.1")],
    );
    let mut conn = CapturedConn::new(
        named(&s, "client"),
        "".into(),
        "10.96.0.1:80".parse().unwrap(),
    );
    let answers = vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    conn.resolved.insert("db.example.com".into(), answers);
    let Decision::Dial(u) = decide(&s, &conn, &mut StdRng::seed_from_u64(1)).decision else {
        panic!("must dial");
    };
    assert_eq!(u.address, "192.0.2.1:8080".parse().unwrap());
}

#[test]
fn endpoints_of_the_family_that_was_dialled_come_first_and_others_only_if_the_service_allows_them()
{
    let backs = |name: &str, ips: &[&str], service: &str| {
        let mut w = backing(pod(name, ""), service, vec![]);
        w.addresses = ips.iter().flat_map(|ip| pod("", ip).addresses).collect();
        w
    };
    let mut both = svc("both", "10.96.0.1");
    both.addresses.extend(svc("", "fd00::1").addresses);
    both.ip_families = pb::IpFamilies::Dual.into();
    let mut six = svc("six", "fd00::2");
    six.ip_families = pb::IpFamilies::Ipv6Only.into();
    let mut only_four = svc("only-four", "10.96.0.3");
    only_four.addresses.extend(svc("", "fd00::3").addresses);
    let mut s = vec![pod("client", "10.0.0.1")];
    s.push(backs("both-4", &["10.0.0.2"], "both"));
    s.push(backs("both-46", &["10.0.0.3", "fd00:1::3"], "both"));
    s.push(backs("six-4", &["10.0.0.4"], "six"));
    s.push(backs("six-64", &["10.0.0.5", "fd00:1::5"], "six"));
    s.push(backs("four", &["10.0.0.6"], "only-four"));
    let s = mesh(s, vec![both, six, only_four]);
    #[rustfmt::skip]
    let table = [
        ("[fd00::1]:80", "Direct [fd00:1::3]:15008 hbone [fd00:1::3]:8080 as both-46 both-46 both"),
        ("[fd00::2]:80", "Direct [fd00:1::5]:15008 hbone [fd00:1::5]:8080 as six-64 six-64 six"),
        ("[fd00::3]:80", "Direct 10.0.0.6:15008 hbone 10.0.0.6:8080 as four four only-four"),
        ("[fd00:1::3]:81", "Direct [fd00:1::3]:15008 hbone [fd00:1::3]:81 as both-46 both-46 -"),
    ];
    for (to, expected) in table {
        assert_eq!(brief(&s, "client", to), expected, "{to}");
    }
}

/// How often each endpoint was chosen in 2000 connections.
fn spread(snapshot: &Snapshot) -> HashMap<String, u32> {
    let mut rng = StdRng::seed_from_u64(11);
    let conn = CapturedConn::new(
        named(snapshot, "client"),
        "".into(),
        "10.96.0.1:80".parse().unwrap(),
    );
    let mut seen = HashMap::new();
    for _ in 0..2000 {
        let name = match decide(snapshot, &conn, &mut rng).decision {
            Decision::Dial(u) => u.workload.name.to_string(),
            other => format!("{other:?}"),
        };
        *seen.entry(name).or_default() += 1;
    }
    seen
}

fn chosen(snapshot: &Snapshot) -> Vec<String> {
    let mut names: Vec<_> = spread(snapshot).into_keys().collect();
    names.sort();
    names
}

#[test]
fn capacity_is_the_share() {
    let sized = |name: &str, ip: &str, capacity| {
        let mut w = backing(pod(name, ip), "web", vec![]);
        w.capacity = Some(capacity);
        w
    };
    let s = mesh(
        vec![
            pod("client", "10.0.0.1"),
            sized("a", "10.0.0.2", 3),
            sized("b", "10.0.0.3", 1),
            sized("c", "10.0.0.4", 0),
        ],
        vec![svc("web", "10.96.0.1")],
    );
    let seen = spread(&s);
    assert!((1400..1600).contains(&seen["a"]), "{seen:?}");
    assert_eq!(seen["a"] + seen["b"], 2000);
}

#[test]
fn health_and_locality_choose_the_endpoints() {
    use pb::load_balancing::{HealthPolicy, Mode, Scope};
    let at = |name: &str, ip: &str, region: &str, zone: &str, ready: bool| {
        let mut w = backing(pod(name, ip), "web", vec![]);
        w.locality = Some(pb::Locality {
            region: region.into(),
            zone: zone.into(),
            ..Default::default()
        });
        w.status = i32::from(!ready);
        w
    };
    let build = |mode: Mode, health: HealthPolicy, scopes: &[Scope]| {
        let mut client = at("client", "10.0.0.1", "r1", "z1", true);
        client.services.clear();
        let mut service = svc("web", "10.96.0.1");
        service.load_balancing = Some(pb::LoadBalancing {
            routing_preference: scopes.iter().map(|s| (*s).into()).collect(),
            mode: mode.into(),
            health_policy: health.into(),
        });
        mesh(
            vec![
                client,
                at("same-zone-down", "10.0.0.2", "r1", "z1", false),
                at("same-region", "10.0.0.3", "r1", "z2", true),
                at("other-region", "10.0.0.4", "r2", "z1", true),
            ],
            vec![service],
        )
    };
    let scopes = [Scope::Region, Scope::Zone];
    let healthy = HealthPolicy::OnlyHealthy;
    assert_eq!(
        chosen(&build(Mode::UnspecifiedMode, healthy, &[])),
        ["other-region", "same-region"]
    );
    assert_eq!(
        chosen(&build(Mode::Failover, healthy, &scopes)),
        ["same-region"]
    );
    assert_eq!(
        chosen(&build(Mode::Failover, healthy, &[Scope::Zone])),
        ["other-region"]
    );
    assert_eq!(
        chosen(&build(Mode::Failover, HealthPolicy::AllowAll, &scopes)),
        ["same-zone-down"]
    );
    assert_eq!(
        chosen(&build(Mode::Strict, healthy, &[Scope::Region])),
        ["same-region"]
    );
    let none = chosen(&build(Mode::Strict, healthy, &scopes));
    assert!(none[0].contains("NoHealthyUpstream"), "{none:?}");
}

#[test]
fn weighted_waypoints_share_and_zero_weights_fall_back() {
    let (a_pod, a_svc) = waypoint("a", "10.96.0.8", "10.0.0.8");
    let (b_pod, b_svc) = waypoint("b", "10.96.0.9", "10.0.0.9");
    let weighted = |name: &str, weight| pb::WeightedWaypoint {
        destination: Some(gateway(name)),
        weight,
    };
    let build = |weights: [u32; 2]| {
        let mut web = svc("web", "10.96.0.1");
        web.waypoint = Some(gateway("b"));
        web.weighted_waypoints = vec![weighted("a", weights[0]), weighted("b", weights[1])];
        mesh(
            vec![pod("client", "10.0.0.1"), a_pod.clone(), b_pod.clone()],
            vec![web, a_svc.clone(), b_svc.clone()],
        )
    };
    let seen = spread(&build([9, 1]));
    assert!((1700..1900).contains(&seen["a-pod"]), "{seen:?}");
    assert_eq!(chosen(&build([0, 0])), ["b-pod"]);
    assert_eq!(chosen(&build([1, 0])), ["a-pod"]);
}

#[test]
fn the_trace_tells_the_story_in_order() {
    let web = backing(pod("web", "10.0.0.2"), "web", vec![]);
    let s = mesh(
        vec![pod("client", "10.0.0.1"), web],
        vec![svc("web", "10.96.0.1")],
    );
    assert_eq!(
        run(&s, "client", "10.96.0.1:80").trace.to_string(),
        "the app dialled 10.96.0.1:80; that is service shop/web.shop.svc.cluster.local; \
         1 of 1 endpoints of shop/web.shop.svc.cluster.local can take it, 1 of them equally good (Any); \
         chose c//Pod/shop/web on port 8080"
    );
}

proptest! {
    /// Whatever is dialled, nothing is ever sent to a reserved port in plaintext or as an authority.
    #[test]
    fn reserved_ports_are_never_reached(last in 0u8..12, dst_port: u16, target in 15000u32..15010, seed: u64) {
        let mut web = svc("web", "10.96.0.1");
        web.ports = vec![port(u32::from(dst_port), target)];
        let s = mesh(
            vec![pod("client", "10.0.0.1"), backing(pod("web", "10.0.0.2"), "web", vec![])],
            vec![web],
        );
        for to in [format!("10.96.0.1:{dst_port}"), format!("10.0.0.{last}:{dst_port}")] {
            let conn = CapturedConn::new(named(&s, "client"), "".into(), to.parse().unwrap());
            match decide(&s, &conn, &mut StdRng::seed_from_u64(seed)).decision {
                Decision::Dial(Upstream { protocol: Protocol::Hbone { authority, .. }, .. }) => {
                    let authority: SocketAddr = authority.parse().unwrap();
                    prop_assert!(!is_reserved(authority.port()));
                }
                Decision::Dial(u) => prop_assert!(!is_reserved(u.address.port())),
                Decision::PassThrough { to, .. } => prop_assert!(!is_reserved(to.port())),
                Decision::Deny(_) | Decision::Need(_) => {}
            }
        }
    }
}
