use crate::gateways::ready;
use crate::mesh::Mesh;
use ambit_api::route::http_route::Action;
use ambit_api::route::{self as pb, path_match, string_match};
use ambit_api::type_urls::CLUSTER;
use ambit_crds::Kind;

const ROUTER: &str = "default/waypoint/default/reviews.default.svc.cluster.local/9080";
const REVIEWS: &str = "default/reviews.default.svc.cluster.local/9080";

fn with(http: &str) -> Mesh {
    let mut mesh = ready();
    mesh.apply(&vs("reviews", "", http));
    mesh
}

fn vs(name: &str, more: &str, http: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: default{more}}},
          spec: {{hosts: [reviews], http: {http}}}}}"
    )
}

fn rule(mesh: &mut Mesh) {
    mesh.apply(
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews, namespace: default},
          spec: {host: reviews, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {connectTimeout: 1500ms}}},
                 subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}",
    );
}

fn clusters(route: &pb::HttpRoute) -> Vec<(&str, u32)> {
    match route.action.as_ref().unwrap() {
        Action::Forward(f) => f.clusters.iter().map(|c| (&*c.cluster, c.weight)).collect(),
        other => panic!("{other:?}"),
    }
}

fn said(mesh: &Mesh, name: &str, kind: &str) -> (String, String, String) {
    mesh.condition(Kind::VirtualService, ("default", name), kind)
        .unwrap()
}

#[test]
fn a_split_by_weight_over_subsets() {
    let mut mesh = with(
        "[{route: [{destination: {host: reviews, subset: v1}, weight: 80}, {destination: {host: reviews, subset: v2}, weight: 20}]}]",
    );
    let (status, reason, message) = said(&mesh, "reviews", "ambit.io/Accepted");
    assert_eq!((&*status, &*reason), ("False", "ReferenceNotFound"));
    assert!(
        message.contains("spec.http[0].route[0].destination.subset"),
        "{message}"
    );
    let v1 = format!("{REVIEWS}/v1");
    assert!(
        !mesh.has(CLUSTER, &v1),
        "no subset without a DestinationRule"
    );
    rule(&mut mesh);
    assert_eq!(said(&mesh, "reviews", "ambit.io/Accepted").0, "True");
    let router = mesh.router(ROUTER);
    let v2 = format!("{REVIEWS}/v2");
    assert_eq!(clusters(&router.http[0]), [(&*v1, 80), (&*v2, 20)]);
    assert_eq!(
        router.http[0].source,
        "VirtualService default/reviews spec.http[0]"
    );
    assert_eq!(mesh.endpoints(&v1), [("reviews-v1".into(), 9080)]);
    assert_eq!(mesh.endpoints(&v2), [("reviews-v2".into(), 9081)]);
    let cluster = mesh.cluster(&v1);
    assert_eq!(
        (cluster.load_balancer(), cluster.connect_timeout_ms),
        (pb::LoadBalancer::RoundRobin, 1500)
    );
    assert_eq!(cluster.protocol(), pb::Protocol::Http1);
    mesh.apply(&vs(
        "reviews",
        "",
        "[{route: [{destination: {host: reviews}}]}]",
    ));
    assert!(!mesh.has(CLUSTER, &v1), "what no route needs is withdrawn");
}

#[test]
fn matches_keep_their_meaning() {
    let mesh = with(
        "[{name: a, match: [
            {uri: {prefix: /api}, ignoreUriCase: true, method: {exact: GET}, headers: {X-User: {exact: jason}, any: {}}, withoutHeaders: {bad: {regex: '.*'}},
             queryParams: {q: {prefix: x}, p: {regex: '*'}}, authority: {exact: h}, scheme: {exact: http}},
            {uri: {regex: '/v[0-9]+'}, ignoreUriCase: true}],
           route: [{destination: {host: reviews}}]},
          {name: other-port, match: [{port: 81}], route: [{destination: {host: reviews}}]},
          {name: ports, match: [{port: 81, uri: {exact: /x}}, {port: 9080, uri: {exact: /y}}], route: [{destination: {host: reviews}}]},
          {name: rest, match: [{uri: {prefix: /}}], route: [{destination: {host: reviews}}]},
          {name: never, route: [{destination: {host: reviews}}]}]",
    );
    let routes = mesh.router(ROUTER).http;
    let names: Vec<_> = routes.iter().map(|r| &*r.name).collect();
    assert_eq!(
        names,
        ["a", "ports", "rest"],
        "other ports and what follows a catch-all are left out"
    );
    let first = &routes[0].matches[0];
    let path = first.path.clone().unwrap();
    assert_eq!(
        (path.kind, path.ignore_case),
        (Some(path_match::Kind::Prefix("/api".into())), true)
    );
    let headers: Vec<_> = first.headers.iter().map(|h| (&*h.name, h.invert)).collect();
    assert_eq!(headers, [("x-user", false), ("any", false), ("bad", true)]);
    let present = |m: &Option<pb::StringMatch>| {
        matches!(
            m.as_ref().unwrap().kind,
            Some(string_match::Kind::Present(_))
        )
    };
    assert!(present(&first.headers[1].value));
    assert_eq!(first.query.len(), 2);
    assert!(
        first
            .query
            .iter()
            .any(|q| q.name == "p" && present(&q.value))
    );
    let regex = routes[0].matches[1].path.clone().unwrap();
    assert!(!regex.ignore_case, "a regex says (?i) itself");
    assert_eq!(routes[1].matches.len(), 1);
    assert!(routes[2].matches.is_empty(), "prefix / takes everything");
}

#[test]
fn actions_and_policies_of_a_route() {
    let mesh = with(
        "[{match: [{uri: {exact: /r}}], redirect: {uri: /to, authority: a, derivePort: FROM_REQUEST_PORT}},
          {match: [{uri: {exact: /d}}], directResponse: {status: 418, body: {string: tea}}},
          {match: [{uri: {exact: /w}}], rewrite: {uriRegexRewrite: {match: '^/a(.*)', rewrite: '/b\\1'}}, timeout: 1.5s,
           retries: {attempts: 3, perTryTimeout: 250ms, retryOn: '5xx,503,bogus'}, fault: {delay: {fixedDelay: 2s, percentage: {value: 0.1}}, abort: {httpStatus: 503, percentage: {value: 50}}},
           headers: {request: {set: {Host: other, X-A: b}, remove: [X-C]}, response: {add: {X-Y: z}}},
           mirror: {host: ratings, port: {number: 9000}}, mirrorPercentage: {value: 10},
           route: [{destination: {host: reviews}}]},
          {retries: {attempts: 0}, route: [{destination: {host: reviews}}]}]",
    );
    let routes = mesh.router(ROUTER).http;
    let Some(Action::Redirect(r)) = &routes[0].action else {
        panic!()
    };
    assert_eq!((r.code, &*r.authority), (301, "a"));
    assert_eq!(r.path, Some(pb::redirect::Path::Full("/to".into())));
    let Some(Action::DirectResponse(d)) = &routes[1].action else {
        panic!()
    };
    assert_eq!((d.status, &d.body[..]), (418, &b"tea"[..]));
    let route = &routes[2];
    assert_eq!(route.timeout_ms, 1500);
    let retry = route.retry.as_ref().unwrap();
    assert_eq!(
        (
            retry.attempts,
            retry.per_try_timeout_ms,
            &retry.status_codes[..]
        ),
        (3, 250, &[503][..])
    );
    assert_eq!(
        retry.on().collect::<Vec<_>>(),
        [pb::RetryOn::FiveXx, pb::RetryOn::RetriableStatusCodes]
    );
    assert!(
        said(&mesh, "reviews", "ambit.io/Accepted")
            .2
            .contains("`bogus`")
    );
    let fault = route.fault.as_ref().unwrap();
    assert_eq!(
        (fault.delay.unwrap().fixed_ms, fault.delay.unwrap().ppm),
        (2000, 1000)
    );
    assert_eq!(fault.abort.unwrap().ppm, 500_000);
    let headers = route.request_headers.as_ref().unwrap();
    assert_eq!(
        (
            headers.set.len(),
            &*headers.set[1].name,
            &*headers.remove[0]
        ),
        (2, "x-a", "x-c")
    );
    assert_eq!(
        (&*headers.set[0].name, &*headers.set[0].value),
        ("host", "other"),
        "whoever executes it takes it as the authority"
    );
    let mirror = &route.mirrors[0];
    assert_eq!(
        (&*mirror.cluster, mirror.ppm),
        ("default/ratings.default.svc.cluster.local/9000", 100_000)
    );
    assert!(mesh.has(CLUSTER, &mirror.cluster));
    assert_eq!(routes[3].retry.as_ref().unwrap().attempts, 0);
    assert_eq!(
        clusters(&routes[3]),
        [(REVIEWS, 1)],
        "a lone destination takes all"
    );
}

#[test]
fn several_for_one_host_follow_each_other_oldest_first() {
    let mut mesh = ready();
    let route = |path: &str| {
        format!(
            "[{{name: {path}, match: [{{uri: {{exact: /{path}}}}}], route: [{{destination: {{host: reviews}}}}]}}]"
        )
    };
    mesh.apply(&vs(
        "new",
        ", creationTimestamp: '2026-02-01T00:00:00Z'",
        &route("new"),
    ));
    mesh.apply(&vs(
        "old",
        ", creationTimestamp: '2026-01-01T00:00:00Z'",
        &route("old"),
    ));
    let names: Vec<_> = mesh
        .router(ROUTER)
        .http
        .iter()
        .map(|r| r.name.clone())
        .collect();
    assert_eq!(names, ["old", "new"]);
    assert_eq!(said(&mesh, "new", "ambit.io/Bound").0, "True");
}

#[test]
fn what_has_no_effect_says_so() {
    let mut mesh = ready();
    mesh.apply("{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: lost, namespace: elsewhere}, spec: {hosts: [reviews.default.svc.cluster.local], http: [{route: [{destination: {host: nobody}}]}]}}");
    let bound = mesh
        .condition(
            Kind::VirtualService,
            ("elsewhere", "lost"),
            "ambit.io/Bound",
        )
        .unwrap();
    assert_eq!((&*bound.0, &*bound.1), ("False", "NoWaypoint"));
    mesh.apply(&vs(
        "reviews",
        "",
        "[{route: [{destination: {host: nobody}}]}]",
    ));
    let (_, reason, message) = said(&mesh, "reviews", "ambit.io/Accepted");
    assert_eq!(reason, "ReferenceNotFound");
    assert!(
        message.contains("spec.http[0].route[0].destination.host: service `nobody` does not exist"),
        "{message}"
    );
    let router = mesh.router(ROUTER);
    let clusters = clusters(&router.http[0]);
    assert_eq!(clusters.len(), 1);
    assert!(!mesh.has(CLUSTER, clusters[0].0), "its requests fail");
}

#[test]
fn the_newer_destination_rule_of_a_host_is_told() {
    let mut mesh = ready();
    rule(&mut mesh);
    mesh.apply("{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: zz, namespace: default}, spec: {host: reviews.default.svc.cluster.local}}");
    let said = mesh
        .condition(
            Kind::DestinationRule,
            ("default", "zz"),
            "ambit.io/Accepted",
        )
        .unwrap();
    assert_eq!((&*said.0, &*said.1), ("False", "Conflicted"));
}
