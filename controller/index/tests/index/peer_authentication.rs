use crate::mesh::Mesh;
use ambit_api::security::{Action, Rule, Scope};
use ambit_api::type_urls::AUTHORIZATION;
use ambit_crds::Kind;

const STRICT: &str = "istio-system/istio_converted_static_strict";

fn peer(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: security.istio.io/v1, kind: PeerAuthentication,
          metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}\n"
    )
}

fn mesh(policies: &[(&str, &str, &str)]) -> Mesh {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    let all: String = policies
        .iter()
        .map(|(ns, name, spec)| peer(ns, name, spec))
        .collect();
    if !all.is_empty() {
        mesh.apply(&all);
    }
    mesh
}

fn names(mesh: &Mesh) -> Vec<String> {
    mesh.pod("default", "reviews-v1").authorization_policies
}

/// (ports, not ports) of each clause, after checking that the first asks for no identity.
fn ports(rule: &Rule) -> Vec<(Vec<u32>, Vec<u32>)> {
    assert_eq!(rule.clauses[0].matches[0].not_principals.len(), 1);
    let of = |m: &ambit_api::security::Match| {
        (m.destination_ports.clone(), m.not_destination_ports.clone())
    };
    rule.clauses.iter().map(|c| of(&c.matches[0])).collect()
}

#[test]
fn the_mode_is_inherited_from_workload_namespace_and_mesh() {
    let strict = "{mtls: {mode: STRICT}}";
    let permissive = "{mtls: {mode: PERMISSIVE}}";
    let unset = "{}";
    let selecting = |mode: &str| {
        format!("{{selector: {{matchLabels: {{app: reviews}}}}, mtls: {{mode: {mode}}}}}")
    };
    let (own_strict, own_disable, own_unset) = (
        selecting("STRICT"),
        selecting("DISABLE"),
        selecting("UNSET"),
    );
    let (root, ns) = (("istio-system", "d"), ("default", "d"));
    for (policies, expected) in [
        (vec![], false),
        (vec![(root.0, root.1, strict)], true),
        (
            vec![(root.0, root.1, strict), (ns.0, ns.1, permissive)],
            false,
        ),
        (vec![(root.0, root.1, strict), (ns.0, ns.1, unset)], true),
        (
            vec![
                (root.0, root.1, strict),
                (ns.0, ns.1, "{mtls: {mode: DISABLE}}"),
            ],
            false,
        ),
        (vec![(ns.0, ns.1, strict)], true),
        (
            vec![(ns.0, ns.1, permissive), (ns.0, "own", &own_strict)],
            true,
        ),
        (
            vec![(ns.0, ns.1, strict), (ns.0, "own", &own_disable)],
            false,
        ),
        (vec![(ns.0, ns.1, strict), (ns.0, "own", &own_unset)], true),
        (vec![(root.0, "own", &own_strict)], false),
    ] {
        let mesh = mesh(&policies);
        let expected: &[&str] = if expected { &[STRICT] } else { &[] };
        assert_eq!(names(&mesh), expected, "{policies:?}");
        assert_eq!(mesh.has(AUTHORIZATION, STRICT), !policies.is_empty());
    }
}

#[test]
fn the_static_policy_denies_peers_without_identity() {
    let mesh = mesh(&[("default", "d", "{mtls: {mode: STRICT}}")]);
    let p = mesh.policy(STRICT);
    assert_eq!(
        (p.action(), p.scope()),
        (Action::Deny, Scope::WorkloadSelector)
    );
    assert_eq!(ports(&p.rules[0]), [(vec![], vec![])]);
}

#[test]
fn ports_that_differ_make_a_policy_of_their_own() {
    let spec = |mode: &str, levels: &str| {
        format!(
            "{{selector: {{matchLabels: {{app: reviews}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {levels}}}"
        )
    };
    let converted = "default/converted_peer_authentication_own";
    let open = mesh(&[(
        "default",
        "own",
        &spec(
            "STRICT",
            "{9080: {mode: DISABLE}, 9090: {mode: PERMISSIVE}, 1: {mode: STRICT}}",
        ),
    )]);
    assert_eq!(names(&open), [converted]);
    let rules = open.policy(converted).rules;
    assert_eq!(
        rules.len(),
        1,
        "one rule: no identity and none of the open ports"
    );
    assert_eq!(
        ports(&rules[0]),
        [(vec![], vec![]), (vec![], vec![9080]), (vec![], vec![9090])]
    );

    let closed = mesh(&[(
        "default",
        "own",
        &spec("PERMISSIVE", "{9080: {mode: STRICT}, 9090: {mode: STRICT}}"),
    )]);
    let rules = closed.policy(converted).rules;
    assert_eq!(rules.len(), 2, "each closed port by itself");
    assert_eq!(ports(&rules[0]), [(vec![9080], vec![])]);
    assert_eq!(ports(&rules[1]), [(vec![9090], vec![])]);

    let inherited = mesh(&[
        ("default", "d", "{mtls: {mode: STRICT}}"),
        (
            "default",
            "own",
            &spec("UNSET", "{9080: {mode: PERMISSIVE}}"),
        ),
    ]);
    assert_eq!(names(&inherited), [converted]);
    assert_eq!(ports(&inherited.policy(converted).rules[0]).len(), 2);

    let same = mesh(&[("default", "own", &spec("STRICT", "{9080: {mode: STRICT}}"))]);
    assert_eq!(names(&same), [STRICT], "nothing differs");
}

#[test]
fn disabling_mutual_tls_is_taken_for_permissive_and_says_so() {
    let mesh = mesh(&[("default", "d", "{mtls: {mode: DISABLE}}")]);
    assert!(names(&mesh).is_empty());
    let accepted = (
        Kind::PeerAuthentication,
        ("default", "d"),
        "ambit.io/Accepted",
    );
    let (status, reason, message) = mesh.condition(accepted.0, accepted.1, accepted.2).unwrap();
    assert_eq!((&*status, &*reason), ("True", "Accepted"));
    assert!(
        message.starts_with("in use; DISABLE acts as PERMISSIVE"),
        "{message}"
    );
}

#[test]
fn rules_of_a_kind_that_nothing_enforces_are_not_believed_in() {
    let mut mesh = mesh(&[]);
    mesh.apply("{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: jwt, namespace: default}, spec: {jwtRules: [{issuer: a}]}}");
    let said = |mesh: &Mesh| {
        let name = ("default", "jwt");
        mesh.condition(Kind::RequestAuthentication, name, "ambit.io/Accepted")
    };
    let (status, reason, message) = said(&mesh).unwrap();
    assert_eq!((&*status, &*reason), ("False", "Unsupported"));
    assert!(
        message.ends_with("is not supported and has no effect"),
        "{message}"
    );
}

#[test]
fn the_oldest_wins_and_the_other_is_told() {
    let mut mesh = mesh(&[]);
    mesh.apply(
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: default, creationTimestamp: '2026-02-01T00:00:00Z'}, spec: {mtls: {mode: STRICT}}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: b, namespace: default, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {mtls: {mode: PERMISSIVE}}}",
    );
    assert!(names(&mesh).is_empty());
    let said = |name| {
        mesh.condition(
            Kind::PeerAuthentication,
            ("default", name),
            "ambit.io/Accepted",
        )
        .unwrap()
    };
    assert_eq!(
        (said("a").1, said("b").1),
        ("Conflicted".into(), "Accepted".into())
    );
}
