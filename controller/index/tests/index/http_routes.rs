use crate::gateways::ready;
use crate::mesh::Mesh;
use ambit_api::route::http_route::Action;
use ambit_api::route::{self as pb, path_match};
use ambit_crds::{Kind, ObjectKey};
use serde_json::Value;

const ROUTER: &str = "default/waypoint/default/reviews.default.svc.cluster.local/9080";

fn route(name: &str, port: &str, rules: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: default}},
          spec: {{parentRefs: [{{group: '', kind: Service, name: reviews{port}}}], rules: {rules}}}}}"
    )
}

fn with(rules: &str) -> Mesh {
    let mut mesh = ready();
    mesh.apply(&route("r", "", rules));
    mesh
}

fn condition(mesh: &Mesh, name: &str, kind: &str) -> (String, String, String) {
    let status = &mesh.statuses[&ObjectKey::new(Kind::HttpRoute, "default", name)];
    let parent = &status["parents"][0];
    assert_eq!(parent["controllerName"], "ambit.io/gateway-controller");
    assert_eq!(parent["parentRef"]["kind"], "Service");
    let list = parent["conditions"].as_array().unwrap();
    let found = list.iter().find(|c| c["type"] == kind).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    (
        text(&found["status"]),
        text(&found["reason"]),
        text(&found["message"]),
    )
}

fn backends(route: &pb::HttpRoute) -> Vec<(&str, u32)> {
    match route.action.as_ref().unwrap() {
        Action::Forward(f) => f.clusters.iter().map(|c| (&*c.cluster, c.weight)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_specific_matches_come_first() {
    let backend = "backendRefs: [{name: reviews, port: 9080}]";
    let mesh = with(&format!(
        "[{{name: prefix, matches: [{{path: {{type: PathPrefix, value: /a}}}}], {backend}}},
          {{name: long, matches: [{{path: {{type: PathPrefix, value: /a/b}}}}], {backend}}},
          {{name: exact, matches: [{{path: {{type: Exact, value: /a}}}}], {backend}}},
          {{name: method, matches: [{{path: {{type: PathPrefix, value: /a}}, method: GET}}], {backend}}},
          {{name: headers, matches: [{{path: {{type: PathPrefix, value: /a}}, headers: [{{name: X, value: z}}]}}], {backend}}},
          {{name: all, {backend}}}]"
    ));
    let routes = mesh.router(ROUTER).http;
    let names: Vec<_> = routes.iter().map(|r| &*r.name).collect();
    assert_eq!(
        names,
        ["exact", "long", "method", "headers", "prefix", "all"]
    );
    assert!(routes[5].matches.is_empty());
    let path = routes[1].matches[0].path.clone().unwrap();
    assert_eq!(
        path.kind,
        Some(path_match::Kind::SegmentPrefix("/a/b".into()))
    );
    assert_eq!(routes[3].matches[0].headers[0].name, "x");
    for kind in ["Accepted", "ResolvedRefs", "istio.io/ResolvedWaypoints"] {
        assert_eq!(condition(&mesh, "r", kind).0, "True", "{kind}");
    }
}

#[test]
fn filters_timeouts_and_weights() {
    let mesh = with(
        "[{matches: [{path: {value: /old}}], timeouts: {request: 2s, backendRequest: 500ms},
           filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: b}]}},
                     {type: URLRewrite, urlRewrite: {hostname: h, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}},
                     {type: RequestMirror, requestMirror: {backendRef: {name: ratings, port: 9080}, percent: 25}}],
           backendRefs: [{name: reviews, port: 9080, weight: 9}, {name: ratings, port: 9080, weight: 0}]},
          {matches: [{path: {type: Exact, value: /gone}}], filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]}]",
    );
    let routes = mesh.router(ROUTER).http;
    let Some(Action::Redirect(redirect)) = &routes[0].action else {
        panic!()
    };
    assert_eq!((&*redirect.scheme, redirect.code), ("https", 301));
    let route = &routes[1];
    assert_eq!(
        (
            route.timeout_ms,
            route.retry.as_ref().unwrap().per_try_timeout_ms
        ),
        (2000, 500)
    );
    let rewrite = route.rewrite.clone().unwrap();
    assert_eq!(
        (rewrite.path, &*rewrite.authority),
        (Some(pb::rewrite::Path::SegmentPrefix("/new".into())), "h")
    );
    assert_eq!(route.mirrors[0].ppm, 250_000);
    assert_eq!(route.request_headers.as_ref().unwrap().set[0].name, "x-a");
    let weights: Vec<_> = backends(route).iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [9, 0]);
}

#[test]
fn an_httproute_wins_over_a_virtualservice_on_its_port() {
    let mut mesh = ready();
    mesh.apply("{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: default}, spec: {hosts: [reviews], http: [{name: vs, route: [{destination: {host: reviews}}]}]}}");
    assert_eq!(mesh.router(ROUTER).http[0].name, "vs");
    let rules = "[{name: route, backendRefs: [{name: reviews, port: 9080}]}]";
    mesh.apply(&route("r", ", port: 9081", rules));
    assert_eq!(mesh.router(ROUTER).http[0].name, "vs", "another port");
    assert_eq!(condition(&mesh, "r", "Accepted").1, "NoMatchingParent");
    mesh.apply(&route("r", ", port: 9080", rules));
    assert_eq!(mesh.router(ROUTER).http[0].name, "route");
    let (status, reason, message) = mesh
        .condition(Kind::VirtualService, ("default", "v"), "ambit.io/Bound")
        .unwrap();
    assert_eq!((&*status, &*reason), ("False", "Conflicted"));
    assert!(message.contains("HTTPRoute default/r"), "{message}");
    mesh.delete(Kind::HttpRoute, "default", "r");
    assert_eq!(mesh.router(ROUTER).http[0].name, "vs");
}

#[test]
fn backends_that_mean_nothing_fail_and_are_named() {
    for (backend, reason) in [
        ("{name: nobody, port: 80}", "BackendNotFound"),
        ("{name: reviews, port: 1}", "BackendNotFound"),
        (
            "{name: x, port: 80, kind: Bucket, group: example.com}",
            "InvalidKind",
        ),
        ("{name: x, port: 80, namespace: other}", "RefNotPermitted"),
    ] {
        let mesh = with(&format!(
            "[{{backendRefs: [{backend}, {{name: reviews, port: 9080}}]}}]"
        ));
        let (status, got, message) = condition(&mesh, "r", "ResolvedRefs");
        assert_eq!((&*status, &*got), ("False", reason));
        assert!(
            message.contains("spec.rules[0].backendRefs[0]"),
            "{message}"
        );
        let router = mesh.router(ROUTER);
        let to = backends(&router.http[0]);
        assert_eq!(to.len(), 2, "its share of requests fails");
        assert!(!mesh.has(ambit_api::type_urls::CLUSTER, to[0].0));
    }
}

#[test]
fn a_route_without_a_waypoint_says_so() {
    let mut mesh = Mesh::new(include_str!("../fixtures/bookinfo.yaml"));
    mesh.apply(&route(
        "r",
        "",
        "[{backendRefs: [{name: reviews, port: 9080}]}]",
    ));
    assert_eq!(condition(&mesh, "r", "Accepted").0, "True");
    assert_eq!(
        condition(&mesh, "r", "istio.io/ResolvedWaypoints").1,
        "MissingUseWaypointLabel"
    );
}

#[test]
fn a_grpc_route_runs_as_paths_beside_http_routes() {
    let backend = "backendRefs: [{name: reviews, port: 9080}]";
    let mut mesh = with(&format!(
        "[{{name: http, matches: [{{path: {{value: /shop.Cart}}}}], {backend}}}]"
    ));
    let rules = format!(
        "[{{name: all, {backend}}},
          {{name: service, matches: [{{method: {{service: shop.Cart}}}}], {backend}}},
          {{name: call, matches: [{{method: {{service: shop.Cart, method: Add}}, headers: [{{name: X, value: a}}]}}], {backend}}},
          {{name: method, matches: [{{method: {{method: List}}}}], {backend}}},
          {{name: pattern, matches: [{{method: {{type: RegularExpression, service: 'shop\\.(Cart|Desk)', method: 'Get.*'}}}}], {backend}}}]"
    );
    let grpc = route("calls", "", &rules).replace("HTTPRoute", "GRPCRoute");
    mesh.apply(&grpc);
    let routes = mesh.router(ROUTER).http;
    let path = |route: &pb::HttpRoute| route.matches.first()?.path.clone()?.kind;
    let seen: Vec<_> = routes.iter().map(|r| (&*r.name, path(r))).collect();
    let regex = |text: &str| Some(path_match::Kind::Regex(text.to_owned()));
    let prefix = || Some(path_match::Kind::SegmentPrefix("/shop.Cart".into()));
    assert_eq!(
        seen,
        [
            (
                "call",
                Some(path_match::Kind::Exact("/shop.Cart/Add".into()))
            ),
            ("pattern", regex("/(?:shop\\.(Cart|Desk))/(?:Get.*)")),
            ("method", regex("/[^/]+/List")),
            // Of the same age: by name of the object.
            ("service", prefix()),
            ("http", prefix()),
            ("all", None),
        ]
    );
    assert!(
        routes[0]
            .source
            .starts_with("GRPCRoute default/calls spec.rules[2]")
    );
    let status = &mesh.statuses[&ObjectKey::new(Kind::GrpcRoute, "default", "calls")];
    let conditions = status["parents"][0]["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|c| c["status"] == "True"), "{status}");
}
