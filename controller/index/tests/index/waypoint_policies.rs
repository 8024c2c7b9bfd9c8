use crate::gateways::ready;
use crate::mesh::Mesh;
use ambit_api::route::access_policy::Action;
use ambit_api::route::access_test::Attribute;
use ambit_api::type_urls::{AUTHORIZATION, GATEWAY};
use ambit_crds::Kind;
use ambit_index::Audience;

const ROUTER: &str = "default/waypoint/default/reviews.default.svc.cluster.local/9080";
const SERVICE: &str = "{kind: Service, group: core, name: reviews}";

fn add(mesh: &mut Mesh, namespace: &str, spec: &str) {
    annotated(mesh, namespace, "", spec);
}

fn annotated(mesh: &mut Mesh, namespace: &str, metadata: &str, spec: &str) {
    mesh.apply(&format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
          metadata: {{name: p, namespace: {namespace} {metadata}}}, spec: {spec}}}"
    ));
}

fn said(mesh: &Mesh, namespace: &str) -> (String, String, String) {
    mesh.condition(
        Kind::AuthorizationPolicy,
        (namespace, "p"),
        "WaypointAccepted",
    )
    .unwrap()
}

#[test]
fn a_service_policy_goes_with_the_routers_of_that_service_alone() {
    let mut mesh = ready();
    add(
        &mut mesh,
        "default",
        &format!(
            "{{targetRefs: [{SERVICE}], action: DENY, rules: [{{}}, {{to: [{{operation: {{methods: [POST]}}}}]}}]}}"
        ),
    );
    let policies = mesh.router(ROUTER).policies;
    assert_eq!(policies.len(), 1);
    let p = &policies[0];
    assert_eq!((&*p.namespace, &*p.name), ("default", "p"));
    assert_eq!(
        (p.action(), p.rules.len(), p.dry_run),
        (Action::Deny, 2, false)
    );
    assert!(p.rules[0].clauses.is_empty(), "matches everything");
    assert_eq!(p.rules[1].index, 1);
    let ratings = ROUTER.replace("reviews", "ratings");
    assert!(mesh.router(&ratings).policies.is_empty());
    assert!(mesh.gateway("default/waypoint").policies.is_empty());
    assert!(
        !mesh.has(AUTHORIZATION, "default/p"),
        "not for node proxies"
    );
    assert_eq!(
        said(&mesh, "default"),
        (
            "True".to_owned(),
            "Accepted".to_owned(),
            "attached to default/waypoint".to_owned()
        )
    );
}

#[test]
fn a_gateway_policy_and_the_default_of_its_class_go_to_the_gateway() {
    let mut mesh = ready();
    assert_eq!(
        mesh.audience(GATEWAY, "default/waypoint"),
        Audience::Gateways(["default/waypoint".to_owned()].into())
    );
    let group = "group: gateway.networking.k8s.io";
    add(
        &mut mesh,
        "default",
        &format!("{{targetRefs: [{{kind: Gateway, {group}, name: waypoint}}], rules: [{{}}]}}"),
    );
    add(
        &mut mesh,
        "istio-system",
        &format!("{{targetRefs: [{{kind: GatewayClass, {group}, name: istio-waypoint}}]}}"),
    );
    let policies = mesh.gateway("default/waypoint").policies;
    let names: Vec<_> = policies
        .iter()
        .map(|p| (&*p.namespace, p.rules.len()))
        .collect();
    assert_eq!(names, [("default", 1), ("istio-system", 0)]);
    assert!(mesh.router(ROUTER).policies.is_empty());
    assert_eq!(said(&mesh, "default").1, "Accepted");
    assert_eq!(said(&mesh, "istio-system").1, "Accepted");
    mesh.delete(Kind::AuthorizationPolicy, "default", "p");
    assert_eq!(mesh.gateway("default/waypoint").policies.len(), 1);
}

#[test]
fn a_target_that_leads_nowhere_is_said() {
    let class = "kind: GatewayClass, group: gateway.networking.k8s.io";
    for (targets, reason, words) in [
        (
            "{kind: Service, name: gone}",
            "TargetNotFound",
            "Service default/gone does not exist",
        ),
        (
            "{kind: Gateway, group: gateway.networking.k8s.io, name: gone}",
            "TargetNotFound",
            "spec.targetRefs[0]: Gateway default/gone",
        ),
        (
            "{kind: ServiceEntry, group: networking.istio.io, name: x}",
            "TargetNotFound",
            "ServiceEntry default/x does not exist",
        ),
        (
            &*format!("{{{class}, name: istio-waypoint}}"),
            "Invalid",
            "belongs in namespace istio-system",
        ),
        (
            &*format!("{SERVICE}, {{kind: Service, name: gone}}"),
            "PartiallyInvalid",
            "attached to default/waypoint; spec.targetRefs[1]: Service default/gone",
        ),
    ] {
        let mut mesh = ready();
        let spec = format!("{{targetRefs: [{targets}], rules: [{{}}]}}");
        add(&mut mesh, "default", &spec);
        let (status, found, message) = said(&mesh, "default");
        assert_eq!((&*status, &*found), ("False", reason), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let mut unbound = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    let spec = format!("{{targetRefs: [{SERVICE}], rules: [{{}}]}}");
    add(&mut unbound, "default", &spec);
    let (_, reason, message) = said(&unbound, "default");
    assert_eq!(reason, "AncestorNotBound", "{message}");
    for action in ["AUDIT", "CUSTOM, provider: {name: x}"] {
        let mut mesh = ready();
        let spec = format!("{{targetRefs: [{SERVICE}], action: {action}, rules: [{{}}]}}");
        add(&mut mesh, "default", &spec);
        assert_eq!(said(&mesh, "default").1, "Invalid");
        assert!(mesh.router(ROUTER).policies.is_empty());
    }
}

#[test]
fn every_field_becomes_a_test_in_the_order_to_from_when() {
    let mut mesh = ready();
    add(
        &mut mesh,
        "default",
        &format!(
            "{{targetRefs: [{SERVICE}], rules: [{{
               to: [{{operation: {{hosts: [a], notHosts: [b], methods: [GET], notMethods: [PUT],
                    paths: ['/x/{{*}}', '/y*'], notPaths: [/z], ports: ['80'], notPorts: ['81']}}}}],
               from: [{{source: {{principals: ['*'], notNamespaces: [ns]}}}},
                      {{source: {{serviceAccounts: [web, other/db], notIpBlocks: [10.0.0.1, 10.0.0.0/8]}}}}],
               when: [{{key: 'request.headers[X-User]', values: [a], notValues: [b]}},
                      {{key: 'request.headers[Host]', values: [h]}},
                      {{key: source.trustDomain, values: [td]}}, {{key: connection.sni, values: [s]}}]}}]}}"
        ),
    );
    let rules = mesh.router(ROUTER).policies.remove(0).rules;
    let shown: Vec<Vec<Vec<String>>> = rules[0]
        .clauses
        .iter()
        .map(|c| {
            let tests = c.matches.iter().map(|m| &m.tests);
            tests.map(|t| t.iter().map(show).collect()).collect()
        })
        .collect();
    let shown: Vec<String> = shown
        .into_iter()
        .map(|c| {
            c.into_iter()
                .map(|m| m.join(" "))
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "Host=a !Host=b Method=GET !Method=PUT Path=/x/{*},/y* !Path=/z DestinationPort=80 !DestinationPort=81",
            "Principal=* !Namespace=ns | ServiceAccount=default/web,other/db !SourceIp=10.0.0.1/32,10.0.0.0/8",
            "Header[x-user]=a !Header[x-user]=b",
            "Host=h",
            "TrustDomain=td",
            "Sni=s",
        ]
    );
    assert_eq!(said(&mesh, "default").1, "Accepted");
}

fn show(test: &ambit_api::route::AccessTest) -> String {
    let attribute: Attribute = test.attribute();
    let not = if test.negated { "!" } else { "" };
    let header = match &*test.header {
        "" => String::new(),
        name => format!("[{name}]"),
    };
    format!("{not}{attribute:?}{header}={}", test.values.join(","))
}

#[test]
fn what_cannot_be_evaluated_fails_closed_and_the_status_names_it() {
    let rules = "rules: [
        {from: [{source: {requestPrincipals: ['*']}}]},
        {from: [{source: {principals: [a], remoteIpBlocks: [10.0.0.0/8]}}, {source: {principals: [b]}}],
         when: [{key: 'request.auth.claims[iss]', values: [x]}, {key: destination.port, values: ['80']}]},
        {to: [{operation: {methods: [GET]}}]}]";
    let mut allow = ready();
    add(
        &mut allow,
        "default",
        &format!("{{targetRefs: [{SERVICE}], {rules}}}"),
    );
    let kept = allow.router(ROUTER).policies.remove(0).rules;
    assert_eq!(kept.iter().map(|r| r.index).collect::<Vec<_>>(), [2]);
    let (status, reason, message) = said(&allow, "default");
    assert_eq!((&*status, &*reason), ("False", "PartiallyInvalid"));
    for words in [
        "spec.rules[0] allows nothing: spec.rules[0].from[0].source.requestPrincipals needs JWT",
        "spec.rules[1].from[0].source.remoteIpBlocks",
        "spec.rules[1].when[0].key `request.auth.claims[iss]` is not supported yet",
    ] {
        assert!(message.contains(words), "{message}");
    }

    let mut deny = ready();
    add(
        &mut deny,
        "default",
        &format!("{{targetRefs: [{SERVICE}], action: DENY, {rules}}}"),
    );
    let kept = deny.router(ROUTER).policies.remove(0).rules;
    assert_eq!(kept.len(), 3);
    assert!(kept[0].clauses.is_empty(), "denies everything");
    let clauses: Vec<_> = kept[1].clauses.iter().map(|c| c.matches.len()).collect();
    assert_eq!(clauses, [2, 1], "from without remoteIpBlocks, the port");
    let message = said(&deny, "default").2;
    assert!(
        message.contains("spec.rules[0] denies more than written"),
        "{message}"
    );
}

#[test]
fn a_policy_on_trial_is_sent_as_such() {
    let mut mesh = ready();
    let annotations = ", annotations: {istio.io/dry-run: 'true'}";
    let spec = format!("{{targetRefs: [{SERVICE}], rules: [{{}}]}}");
    annotated(&mut mesh, "default", annotations, &spec);
    assert!(mesh.router(ROUTER).policies[0].dry_run);
    let (_, reason, message) = said(&mesh, "default");
    assert_eq!(reason, "Accepted");
    assert!(message.contains("not enforced"), "{message}");
}
