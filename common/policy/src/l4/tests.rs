use super::*;
use ambit_model::authorization::{
    Clause, Match, PolicyScope, Rule, ServiceAccountMatch, StringMatch,
};
use ambit_model::convert::workload;
use ambit_model::snapshot::Change;
use proptest::prelude::*;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn destination(policies: &[&str]) -> Workload {
    let message = ambit_api::workload::Workload {
        uid: "c//Pod/shop/db".into(),
        name: "db".into(),
        namespace: "shop".into(),
        authorization_policies: policies.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    workload::from_proto(message).unwrap()
}

fn policy(name: &str, scope: PolicyScope, action: PolicyAction, rules: Vec<Rule>) -> Authorization {
    Authorization {
        key: PolicyKey::new("shop", name),
        scope,
        action,
        rules,
        dry_run: false,
    }
}

fn one(m: Match) -> Vec<Rule> {
    vec![Rule {
        clauses: vec![Clause { matches: vec![m] }],
    }]
}

fn facts(identity: Option<&str>) -> ConnectionFacts {
    ConnectionFacts {
        source_ip: "10.0.0.1".parse().unwrap(),
        source_identity: identity.map(|i| i.parse().unwrap()),
        destination_ip: "10.0.0.2".parse().unwrap(),
        destination_port: 8080,
    }
}

fn run(policies: Vec<Authorization>, named: &[&str], identity: Option<&str>) -> Evaluation {
    let snapshot = Snapshot::default().apply(policies.into_iter().map(Change::Policy));
    evaluate(&snapshot, &destination(named), &facts(identity))
}

fn exact(values: &[&str]) -> Vec<StringMatch> {
    values
        .iter()
        .map(|v| StringMatch::Exact(v.to_string()))
        .collect()
}

/// Whether one ALLOW policy with this match lets the web identity, and a plaintext peer, through.
fn both(m: Match) -> (bool, bool) {
    let p = policy("p", PolicyScope::Namespace, PolicyAction::Allow, one(m));
    (
        run(vec![p.clone()], &[], Some(WEB)).verdict.is_allowed(),
        run(vec![p], &[], None).verdict.is_allowed(),
    )
}

#[test]
fn fields_match_as_the_table_says() {
    let m = Match::default;
    let account = |namespace: &str, service_account: &str| {
        vec![ServiceAccountMatch {
            namespace: namespace.into(),
            service_account: service_account.into(),
        }]
    };
    let bare = "cluster.local/ns/shop/sa/web";
    let nets = |n: &str| vec![n.parse().unwrap()];
    #[rustfmt::skip]
    let table: Vec<(&str, Match, (bool, bool))> = vec![
        ("empty", m(), (false, false)),
        ("principal", Match { principals: exact(&[bare]), ..m() }, (true, false)),
        ("principal with scheme", Match { principals: exact(&[WEB]), ..m() }, (true, false)),
        ("other principal", Match { principals: exact(&["x"]), ..m() }, (false, false)),
        ("principal prefix", Match { principals: vec![StringMatch::Prefix("cluster.local/ns/shop/".into())], ..m() }, (true, false)),
        ("principal suffix", Match { principals: vec![StringMatch::Suffix("/sa/web".into())], ..m() }, (true, false)),
        ("principal presence", Match { principals: vec![StringMatch::Presence], ..m() }, (true, false)),
        ("no principal", Match { not_principals: vec![StringMatch::Presence], ..m() }, (false, true)),
        ("not principal", Match { not_principals: exact(&[bare]), ..m() }, (false, true)),
        ("namespace", Match { namespaces: exact(&["shop"]), ..m() }, (true, false)),
        ("not namespace", Match { not_namespaces: exact(&["shop"]), ..m() }, (false, true)),
        ("not other namespace", Match { not_namespaces: exact(&["x"]), ..m() }, (true, true)),
        ("account", Match { service_accounts: account("shop", "web"), ..m() }, (true, false)),
        ("account elsewhere", Match { service_accounts: account("x", "web"), ..m() }, (false, false)),
        ("not account", Match { not_service_accounts: account("shop", "web"), ..m() }, (false, true)),
        ("source ip", Match { source_ips: nets("10.0.0.0/24"), ..m() }, (true, true)),
        ("other source ip", Match { source_ips: nets("10.1.0.0/24"), ..m() }, (false, false)),
        ("not source ip", Match { not_source_ips: nets("10.0.0.1/32"), ..m() }, (false, false)),
        ("destination ip", Match { destination_ips: nets("10.0.0.2/32"), ..m() }, (true, true)),
        ("not destination ip", Match { not_destination_ips: nets("10.0.0.2/32"), ..m() }, (false, false)),
        ("port", Match { destination_ports: vec![80, 8080], ..m() }, (true, true)),
        ("other port", Match { destination_ports: vec![80], ..m() }, (false, false)),
        ("not port", Match { not_destination_ports: vec![8080], ..m() }, (false, false)),
        ("fields are ANDed", Match { principals: exact(&[bare]), destination_ports: vec![80], ..m() }, (false, false)),
        ("values are ORed", Match { principals: exact(&["x", bare]), ..m() }, (true, false)),
    ];
    for (name, m, expected) in table {
        assert_eq!(both(m), expected, "{name}");
    }
}

#[test]
fn rules_are_ored_clauses_anded_and_an_empty_clause_matches() {
    let port = |p| Clause {
        matches: vec![Match {
            destination_ports: vec![p],
            ..Match::default()
        }],
    };
    let any = || Clause::default();
    #[rustfmt::skip]
    let table = [
        ("no rules", vec![], false),
        ("rule without clauses", vec![Rule::default()], true),
        ("clause without matches", vec![Rule { clauses: vec![any()] }], true),
        ("clauses are ANDed", vec![Rule { clauses: vec![port(8080), port(80)] }], false),
        ("rules are ORed", vec![Rule { clauses: vec![port(80)] }, Rule { clauses: vec![port(8080)] }], true),
        ("matches are ORed", vec![Rule { clauses: vec![Clause { matches: vec![Match::default(), port(8080).matches.remove(0)] }] }], true),
    ];
    for (name, rules, allowed) in table {
        let p = policy("p", PolicyScope::Global, PolicyAction::Allow, rules);
        assert_eq!(
            run(vec![p], &[], None).verdict.is_allowed(),
            allowed,
            "{name}"
        );
    }
}

#[test]
fn deny_comes_before_allow_and_names_its_rule() {
    let all = || vec![Rule::default()];
    let allow = policy("a", PolicyScope::Namespace, PolicyAction::Allow, all());
    let deny = policy("d", PolicyScope::Global, PolicyAction::Deny, all());
    let Verdict::Denied(denial) = run(vec![allow, deny], &[], Some(WEB)).verdict else {
        panic!("must be denied");
    };
    assert_eq!(denial.to_string(), "explicitly denied by: shop/d (rule 0)");
}

#[test]
fn a_missed_allow_names_the_clause_that_failed() {
    let far = one(Match {
        destination_ports: vec![1],
        ..Match::default()
    });
    let near = vec![Rule {
        clauses: vec![
            Clause {
                matches: vec![Match {
                    destination_ports: vec![8080],
                    ..Match::default()
                }],
            },
            Clause {
                matches: vec![Match {
                    principals: exact(&["x"]),
                    ..Match::default()
                }],
            },
        ],
    }];
    let policies = vec![
        policy("far", PolicyScope::Namespace, PolicyAction::Allow, far),
        policy("near", PolicyScope::Namespace, PolicyAction::Allow, near),
    ];
    let Verdict::Denied(denial) = run(policies, &[], Some(WEB)).verdict else {
        panic!("must be denied");
    };
    assert_eq!(
        denial.to_string(),
        "allow policies exist, but none allowed (closest: shop/near rule 0, clause 1: principals did not match)"
    );
}

#[test]
fn an_unknown_policy_denies_and_an_unnamed_selector_policy_does_not_apply() {
    let verdict = run(vec![], &["shop/gone"], Some(WEB)).verdict;
    assert!(matches!(
        verdict,
        Verdict::Denied(Denial {
            why: Why::UnknownPolicy,
            ..
        })
    ));
    let deny = || {
        policy(
            "d",
            PolicyScope::WorkloadSelector,
            PolicyAction::Deny,
            vec![Rule::default()],
        )
    };
    assert!(run(vec![deny()], &[], Some(WEB)).verdict.is_allowed());
    assert!(
        !run(vec![deny()], &["shop/d"], Some(WEB))
            .verdict
            .is_allowed()
    );
}

#[test]
fn a_policy_on_trial_is_reported_and_not_enforced() {
    let mut deny = policy(
        "d",
        PolicyScope::Global,
        PolicyAction::Deny,
        vec![Rule::default()],
    );
    deny.dry_run = true;
    let mut allow = policy("a", PolicyScope::Global, PolicyAction::Allow, vec![]);
    allow.dry_run = true;
    let evaluation = run(vec![deny, allow], &[], None);
    assert_eq!(evaluation.verdict, Verdict::Allowed { by: None });
    let said: Vec<_> = evaluation
        .dry_run
        .iter()
        .map(|d| (d.deny, d.matched))
        .collect();
    assert_eq!(said, [(true, Some(0)), (false, None)]);
}

fn any_match() -> impl Strategy<Value = Match> {
    let strings = prop::collection::vec(
        prop_oneof![
            Just(StringMatch::Presence),
            "[a-z/.]{0,6}".prop_map(StringMatch::Exact),
            "[a-z/.]{0,6}".prop_map(StringMatch::Prefix),
            "[a-z/.]{0,6}".prop_map(StringMatch::Suffix),
        ],
        0..3,
    );
    let ports = || prop::collection::vec(8079u16..8082, 0..2);
    (strings.clone(), strings, ports(), ports()).prop_map(|(p, n, d, nd)| Match {
        principals: p,
        not_namespaces: n,
        destination_ports: d,
        not_destination_ports: nd,
        ..Match::default()
    })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let clause = prop::collection::vec(any_match(), 0..3).prop_map(|matches| Clause { matches });
    let rule = prop::collection::vec(clause, 0..3).prop_map(|clauses| Rule { clauses });
    prop::collection::vec(rule, 0..3)
}

proptest! {
    /// A DENY can only take away, an ALLOW beside another ALLOW can only give.
    #[test]
    fn policies_are_monotonic(allow in any_rules(), other in any_rules(), deny in any_rules(), mtls: bool) {
        let identity = mtls.then_some(WEB);
        let a = policy("a", PolicyScope::Global, PolicyAction::Allow, allow);
        let b = policy("b", PolicyScope::Namespace, PolicyAction::Allow, other);
        let d = policy("d", PolicyScope::Global, PolicyAction::Deny, deny.clone());
        let alone = run(vec![a.clone()], &[], identity).verdict.is_allowed();
        let wider = run(vec![a.clone(), b], &[], identity).verdict.is_allowed();
        let narrower = run(vec![a, d], &[], identity).verdict.is_allowed();
        prop_assert!(!alone || wider);
        prop_assert!(!narrower || alone);
        let as_allow = policy("x", PolicyScope::Global, PolicyAction::Allow, deny.clone());
        let as_deny = policy("x", PolicyScope::Global, PolicyAction::Deny, deny);
        prop_assert_eq!(
            run(vec![as_allow], &[], identity).verdict.is_allowed(),
            !run(vec![as_deny], &[], identity).verdict.is_allowed()
        );
    }
}
