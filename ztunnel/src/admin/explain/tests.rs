use super::*;
use crate::fixtures::{backs, pod, service};
use ambit_api::{security as pb, workload as wl};
use ambit_model::convert;
use ambit_model::snapshot::Change;

fn snapshot(more: Vec<Change>) -> Snapshot {
    let mut changes = vec![
        pod("ns", "client", "10.0.0.1", |w| w.node = "n1".into()),
        pod("ns", "server", "10.0.0.2", |w| {
            backs(w, "ns/web.ns.svc.cluster.local")
        }),
        service("ns", "web.ns.svc.cluster.local", &["10.96.0.1"]),
    ];
    changes.extend(more);
    Snapshot::default().apply(changes)
}

fn ask(snapshot: &Snapshot, pod: &str, to: &str) -> Result<Explanation, ExplainError> {
    let question = Question {
        namespace: "ns",
        pod,
        to,
        domain: "cluster.local",
    };
    explain(snapshot, &question)
}

fn deny_all() -> Change {
    let rule = pb::Rule {
        clauses: vec![pb::Clause::default()],
    };
    let policy = pb::Authorization {
        name: "closed".into(),
        namespace: "ns".into(),
        scope: pb::Scope::Namespace as i32,
        action: pb::Action::Deny as i32,
        rules: vec![rule],
        ..Default::default()
    };
    Change::Policy(convert::authorization::from_proto(policy).unwrap())
}

#[test]
fn a_name_is_followed_to_its_endpoint_and_through_the_policy_there() {
    let answer = ask(&snapshot(vec![]), "client", "web:80").unwrap();
    assert!(!answer.refused);
    assert_eq!(&*answer.node, "n1", "whose proxy decides");
    assert_eq!(
        answer.decision,
        "mutual TLS to ns/server at 10.0.0.2:15008, for 10.0.0.2:8080"
    );
    assert!(
        answer
            .trace
            .iter()
            .any(|fact| fact.starts_with("at ns/server: ")),
        "{answer:?}"
    );
}

#[test]
fn a_policy_that_refuses_is_named() {
    let answer = ask(&snapshot(vec![deny_all()]), "client", "web:80").unwrap();
    assert!(
        answer.refused && answer.decision.contains("ns/closed"),
        "{answer:?}"
    );
}

#[test]
fn a_pod_outside_the_mesh_comes_without_identity() {
    let plain = pod("ns", "plain", "10.0.0.3", |w| w.tunnel_protocol = 0);
    let answer = ask(&snapshot(vec![plain]), "plain", "web:80").unwrap();
    assert_eq!(answer.decision, "plain TCP to ns/server at 10.0.0.2:8080");
    assert!(
        answer
            .trace
            .iter()
            .any(|fact| fact.contains("not captured")),
        "{answer:?}"
    );
}

#[test]
fn an_address_outside_the_mesh_is_passed_through() {
    let answer = ask(&snapshot(vec![]), "client", "192.0.2.1:443").unwrap();
    assert_eq!(
        answer.decision,
        "plain TCP to 192.0.2.1:443, outside the mesh"
    );
}

#[test]
fn what_cannot_be_answered_says_why() {
    let s = snapshot(vec![]);
    assert!(matches!(
        ask(&s, "nobody", "web:80"),
        Err(ExplainError::UnknownPod { .. })
    ));
    assert!(matches!(
        ask(&s, "client", "web"),
        Err(ExplainError::BadTarget { .. })
    ));
    assert!(matches!(
        ask(&s, "client", "nothing:80"),
        Err(ExplainError::UnknownName { .. })
    ));
}

#[test]
fn a_waypoint_is_named_with_what_it_is_asked_for_and_who_is_not_captured_goes_past_it() {
    let address = wl::NetworkAddress {
        address: vec![10, 0, 0, 9],
        ..Default::default()
    };
    let gateway = wl::GatewayAddress {
        destination: Some(wl::gateway_address::Destination::Address(address)),
        hbone_mtls_port: 15008,
    };
    let snapshot = snapshot(vec![
        pod("ns", "waypoint", "10.0.0.9", |_| {}),
        pod("ns", "behind", "10.0.0.3", |w| w.waypoint = Some(gateway)),
        pod("ns", "outside", "10.0.0.4", |w| w.tunnel_protocol = 0),
    ]);
    let answer = ask(&snapshot, "client", "10.0.0.3:8080").unwrap();
    let onward = answer.waypoint.expect("a waypoint is dialled");
    assert_eq!((&*onward.namespace, &*onward.pod), ("ns", "waypoint"));
    assert_eq!(onward.authority, "10.0.0.3:8080");
    assert_eq!(onward.client, Some("10.0.0.1".parse().unwrap()));
    assert!(onward.identity.starts_with("spiffe://"), "{onward:?}");
    let answer = ask(&snapshot, "outside", "10.0.0.3:8080").unwrap();
    assert!(answer.waypoint.is_none());
    assert_eq!(
        answer.decision,
        "plain TCP to 10.0.0.3:8080, past the waypoint"
    );
}
