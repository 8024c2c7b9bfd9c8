use crate::mesh::Mesh;
use ambit_api::security::string_match::MatchType;
use ambit_api::security::{Action, Match, Scope};
use ambit_api::type_urls::AUTHORIZATION;
use ambit_crds::Kind;
use ambit_index::Audience;

fn policy(namespace: &str, spec: &str) -> Mesh {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(&format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
          metadata: {{name: p, namespace: {namespace}}}, spec: {spec}}}"
    ));
    mesh
}

fn said(mesh: &Mesh, kind: &str) -> (String, String, String) {
    mesh.condition(Kind::AuthorizationPolicy, ("default", "p"), kind)
        .unwrap()
}

#[test]
fn scopes_and_attachment() {
    let rule = "rules: [{from: [{source: {principals: [a]}}]}]";
    let root = policy("istio-system", &format!("{{{rule}}}"));
    assert_eq!(root.policy("istio-system/p").scope(), Scope::Global);
    let namespace = policy("default", &format!("{{action: DENY, {rule}}}"));
    let p = namespace.policy("default/p");
    assert_eq!((p.scope(), p.action()), (Scope::Namespace, Action::Deny));
    assert_eq!(
        namespace.audience(AUTHORIZATION, "default/p"),
        Audience::Nodes
    );
    assert!(
        namespace
            .pod("default", "reviews-v1")
            .authorization_policies
            .is_empty()
    );
    let selecting = policy(
        "default",
        &format!("{{selector: {{matchLabels: {{version: v1}}}}, {rule}}}"),
    );
    assert_eq!(
        selecting.policy("default/p").scope(),
        Scope::WorkloadSelector
    );
    assert_eq!(
        selecting
            .pod("default", "reviews-v1")
            .authorization_policies,
        ["default/p"]
    );
    assert!(
        selecting
            .pod("default", "reviews-v2")
            .authorization_policies
            .is_empty()
    );
    let everywhere = policy(
        "istio-system",
        &format!("{{selector: {{matchLabels: {{version: v1}}}}, {rule}}}"),
    );
    assert_eq!(
        everywhere
            .pod("default", "reviews-v1")
            .authorization_policies,
        ["istio-system/p"]
    );
    assert_eq!(said(&selecting, "ZtunnelAccepted").1, "Accepted");
}

#[test]
fn one_rule_each_and_clauses_in_the_order_to_from_when() {
    let mesh = policy(
        "default",
        "{rules: [
          {from: [{source: {principals: ['*', 'td/*', '*/sa/x', exact], notNamespaces: [other]}},
                  {source: {serviceAccounts: [web, other/db], ipBlocks: [10.0.0.0/8, 192.168.0.1]}}],
           to: [{operation: {ports: ['80', '443'], notPorts: ['22']}}],
           when: [{key: destination.port, values: ['81']}, {key: source.ip, notValues: ['fd00::/8']},
                  {key: source.serviceAccount, values: [web]}]},
          {}]}",
    );
    let rules = mesh.policy("default/p").rules;
    assert_eq!(rules.len(), 2);
    assert!(
        rules[1].clauses.is_empty(),
        "an empty rule matches everything"
    );
    let clauses = &rules[0].clauses;
    assert_eq!(clauses.len(), 5);
    let to = &clauses[0].matches[0];
    assert_eq!(
        (&to.destination_ports[..], &to.not_destination_ports[..]),
        (&[80, 443][..], &[22][..])
    );
    let from = &clauses[1].matches;
    assert_eq!(from.len(), 2);
    let kinds: Vec<_> = from[0]
        .principals
        .iter()
        .map(|p| p.match_type.clone().unwrap())
        .collect();
    assert!(matches!(kinds[0], MatchType::Presence(_)));
    assert_eq!(
        kinds[1..],
        [
            MatchType::Prefix("td/".into()),
            MatchType::Suffix("/sa/x".into()),
            MatchType::Exact("exact".into()),
        ]
    );
    assert_eq!(from[0].not_namespaces.len(), 1);
    let accounts: Vec<_> = from[1]
        .service_accounts
        .iter()
        .map(|a| (&*a.namespace, &*a.service_account))
        .collect();
    assert_eq!(accounts, [("default", "web"), ("other", "db")]);
    let blocks: Vec<_> = from[1]
        .source_ips
        .iter()
        .map(|b| (b.address.len(), b.length))
        .collect();
    assert_eq!(blocks, [(4, 8), (4, 32)]);
    assert_eq!(clauses[2].matches[0].destination_ports, [81]);
    assert_eq!(clauses[3].matches[0].not_source_ips[0].length, 8);
    assert_eq!(clauses[4].matches[0].service_accounts.len(), 1);
}

#[test]
fn an_allow_rule_with_l7_is_left_out_and_the_status_names_the_field() {
    let mesh = policy(
        "default",
        "{rules: [{to: [{operation: {methods: [GET]}}]},
                  {from: [{source: {principals: [a]}}], when: [{key: 'request.headers[x]', values: [z]}]},
                  {from: [{source: {namespaces: [other]}}]}]}",
    );
    let rules = mesh.policy("default/p").rules;
    assert_eq!(rules.len(), 1, "only the third");
    let (status, reason, message) = said(&mesh, "ZtunnelAccepted");
    assert_eq!((&*status, &*reason), ("False", "UnsupportedValue"));
    assert!(
        message.contains("spec.rules[0] allows nothing: spec.rules[0].to[0].operation.methods"),
        "{message}"
    );
    assert!(
        message.contains("spec.rules[1].when[0] (request.headers[x])"),
        "{message}"
    );
}

#[test]
fn a_deny_rule_with_l7_loses_the_field_and_the_status_says_with_what_effect() {
    let only_l7 = policy(
        "default",
        "{action: DENY, rules: [{from: [{source: {namespaces: [other]}}], to: [{operation: {paths: [/admin]}}]}]}",
    );
    let clauses = &only_l7.policy("default/p").rules[0].clauses;
    assert_eq!(clauses[0].matches, [Match::default()], "never matches");
    assert!(
        said(&only_l7, "ZtunnelAccepted")
            .2
            .contains("denies nothing")
    );
    let both = policy(
        "default",
        "{action: DENY, rules: [{to: [{operation: {paths: [/admin], ports: ['80']}}]}]}",
    );
    let clauses = &both.policy("default/p").rules[0].clauses;
    assert_eq!(clauses[0].matches[0].destination_ports, [80]);
    assert!(
        said(&both, "ZtunnelAccepted")
            .2
            .contains("denies more than written")
    );
}

#[test]
fn what_node_proxies_cannot_do_is_not_sent_and_said() {
    for (spec, kind) in [
        ("{action: AUDIT, rules: [{}]}", "ZtunnelAccepted"),
        (
            "{action: CUSTOM, provider: {name: x}, rules: [{}]}",
            "ZtunnelAccepted",
        ),
    ] {
        let mesh = policy("default", spec);
        assert!(!mesh.has(AUTHORIZATION, "default/p"), "{spec}");
        assert_eq!(said(&mesh, kind).0, "False", "{spec}");
    }
}

#[test]
fn no_rules_means_that_nothing_matches() {
    let mesh = policy("default", "{}");
    let p = mesh.policy("default/p");
    assert_eq!((p.action(), p.rules.len()), (Action::Allow, 0));
}
