use super::super::fixture::{backing, gateway, host, mesh, named, pod, port, svc, waypoint};
use super::{
    Arrival, ArrivedConn, Authority, Decided, InboundDecision, Snapshot, SocketAddr, decide,
};
use ambit_api::{security, workload as pb};
use ambit_model::convert::authorization;
use ambit_model::snapshot::Change;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/client";

fn arrive(s: &Snapshot, pod: &str, source: &str, authority: Option<&str>) -> Decided {
    let destination = named(s, pod);
    let ip = destination.addresses[0];
    let arrival = match authority {
        None => Arrival::Plaintext,
        Some(a) => Arrival::Hbone {
            identity: WEB.parse().unwrap(),
            authority: match a.parse() {
                Ok(address) => Authority::Address(address),
                Err(_) => {
                    let (hostname, port) = a.rsplit_once(':').unwrap();
                    Authority::Name {
                        hostname: hostname.into(),
                        port: port.parse().unwrap(),
                    }
                }
            },
        },
    };
    let port = if authority.is_some() { 15008 } else { 8080 };
    let local = SocketAddr::new(ip, port);
    let source = source.parse().unwrap();
    decide(
        s,
        &ArrivedConn {
            destination,
            source,
            local,
            arrival,
        },
    )
}

fn brief(decided: &Decided) -> String {
    match &decided.decision {
        InboundDecision::Connect(c) => {
            let spoof = c.spoof.map_or("self".to_owned(), |ip| ip.to_string());
            let header = if c.proxy_header { " proxy" } else { "" };
            format!("{} from {spoof}{header}", c.to)
        }
        InboundDecision::Refuse(r) => format!("{} {} {r}", r.status(), r.reason()),
    }
}

#[test]
fn authorities_are_checked_against_who_we_are() {
    let mut customer = svc("customer", "10.96.0.2");
    customer.waypoint = Some(gateway("wp"));
    let mut named_port = svc("named", "10.96.0.3");
    named_port.ports = vec![port(80, 0)];
    let (wp_pod, wp_svc) = waypoint("wp", "10.96.0.9", "10.0.0.9");
    let mut sandwich = pod("sandwich", "10.0.0.5");
    sandwich.application_tunnel = Some(pb::ApplicationTunnel {
        protocol: pb::application_tunnel::Protocol::Proxy.into(),
        port: 15088,
    });
    let web = backing(
        backing(pod("web", "10.0.0.2"), "web", vec![]),
        "named",
        vec![port(80, 9090)],
    );
    let s = mesh(
        vec![web, wp_pod, sandwich],
        vec![
            svc("web", "10.96.0.1"),
            customer,
            named_port,
            wp_svc,
            svc("else", "10.96.0.4"),
        ],
    );
    let web = host("web") + ":80";
    let numbered = host("web") + ":81";
    let by_name = host("named") + ":80";
    let elsewhere = host("else") + ":80";
    #[rustfmt::skip]
    let table = [
        ("web", Some("10.0.0.2:8080"), "10.0.0.2:8080 from 10.0.0.1"),
        ("web", Some("[::ffff:10.0.0.2]:8080"), "10.0.0.2:8080 from 10.0.0.1"),
        ("web", Some("10.0.0.3:8080"), "400 not-ours ip mismatch: 10.0.0.3 != 10.0.0.2"),
        ("web", Some("10.96.0.2:80"), "400 not-ours ip mismatch: 10.96.0.2 != 10.0.0.2"),
        ("wp-pod", Some("10.96.0.2:80"), "10.0.0.9:80 from 10.0.0.1"),
        ("web", Some("10.0.0.2:15008"), "503 reserved-port attempted recursive call to ourselves: port 15008 is reserved"),
        ("web", Some(&*web), "10.0.0.2:8080 from 10.0.0.1"),
        ("web", Some(&*by_name), "10.0.0.2:9090 from 10.0.0.1"),
        ("web", Some(&*numbered), "503 unknown-destination requested service web.shop.svc.cluster.local:81 found, but cannot resolve port"),
        ("web", Some(&*elsewhere), "503 unknown-destination requested service else.shop.svc.cluster.local:80 found, but cannot resolve port"),
        ("web", Some("no.such:80"), "503 unknown-destination no service is known as no.such"),
        ("sandwich", Some("10.96.0.1:80"), "10.0.0.5:15088 from 10.0.0.1 proxy"),
        ("web", None, "10.0.0.2:8080 from 10.0.0.1"),
    ];
    for (pod, authority, expected) in table {
        let decided = arrive(&s, pod, "10.0.0.1:4000", authority);
        assert_eq!(brief(&decided), expected, "{pod} {authority:?}");
    }
    let hairpin = arrive(&s, "web", "10.0.0.2:4000", Some("10.0.0.2:8080"));
    assert_eq!(brief(&hairpin), "10.0.0.2:8080 from self");
}

#[test]
fn strict_mutual_tls_is_a_policy_that_plaintext_fails() {
    let presence = security::StringMatch {
        match_type: Some(security::string_match::MatchType::Presence(
            security::Presence {},
        )),
    };
    let strict = security::Authorization {
        name: "istio_converted_static_strict".into(),
        namespace: "istio-system".into(),
        scope: security::Scope::WorkloadSelector.into(),
        action: security::Action::Deny.into(),
        rules: vec![security::Rule {
            clauses: vec![security::Clause {
                matches: vec![security::Match {
                    not_principals: vec![presence],
                    ..Default::default()
                }],
            }],
        }],
        ..Default::default()
    };
    let mut web = pod("web", "10.0.0.2");
    web.authorization_policies = vec!["istio-system/istio_converted_static_strict".into()];
    let unknown = mesh(vec![web], vec![]);
    let known = unknown.apply([Change::Policy(authorization::from_proto(strict).unwrap())]);
    let plain = |s: &Snapshot| brief(&arrive(s, "web", "10.0.0.1:4000", None));
    let hbone = |s: &Snapshot| brief(&arrive(s, "web", "10.0.0.1:4000", Some("10.0.0.2:8080")));
    assert_eq!(
        plain(&known),
        "401 deny explicitly denied by: istio-system/istio_converted_static_strict (rule 0)"
    );
    assert_eq!(hbone(&known), "10.0.0.2:8080 from 10.0.0.1");
    assert_eq!(
        hbone(&unknown),
        "401 deny policy istio-system/istio_converted_static_strict is named by the workload and not known yet"
    );
    let trace = arrive(&known, "web", "10.0.0.1:4000", None)
        .trace
        .to_string();
    assert_eq!(
        trace,
        "the client is in plaintext, with no identity; explicitly denied by: istio-system/istio_converted_static_strict (rule 0)"
    );
}
