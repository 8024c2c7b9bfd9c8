use super::*;
use crate::state::{State, Update};
use ambit_api::{route as pb, type_urls, workload as wl};
use ambit_model::ids::{ServiceKey, SpiffeId};
use ambit_telemetry::logging::Format;
use bytes::Bytes;
use pb::http_route;
use prost::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SERVICE: &str = "shop/web.shop.svc.cluster.local";

fn me() -> Me {
    Me {
        identity: SpiffeId::new("cluster.local", "shop", "waypoint"),
        gateway: "shop/waypoint".into(),
        service: ServiceKey::new("shop", "waypoint.shop.svc.cluster.local"),
        namespace: "shop".into(),
        network: "".into(),
        ip: None,
        baggage: None,
        log_format: Format::Plain,
    }
}

fn address(kind: wl::address::Type) -> Bytes {
    wl::Address { r#type: Some(kind) }.encode_to_vec().into()
}

fn pod(name: &str, ip: u8, status: wl::WorkloadStatus) -> Bytes {
    address(wl::address::Type::Workload(wl::Workload {
        uid: format!("c//Pod/shop/{name}"),
        name: name.into(),
        namespace: "shop".into(),
        addresses: vec![vec![10, 0, 0, ip]],
        status: status.into(),
        ..Default::default()
    }))
}

fn forward(prefix: &str, cluster: &str) -> pb::HttpRoute {
    let kind = pb::path_match::Kind::Prefix(prefix.into());
    let path = pb::PathMatch {
        kind: Some(kind),
        ignore_case: false,
    };
    let to = pb::WeightedCluster {
        cluster: cluster.into(),
        weight: 1,
        ..Default::default()
    };
    pb::HttpRoute {
        name: prefix.trim_start_matches('/').into(),
        source: format!("VirtualService shop/web {prefix}"),
        matches: vec![pb::HttpMatch {
            path: Some(path),
            ..Default::default()
        }],
        action: Some(http_route::Action::Forward(pb::Forward {
            clusters: vec![to],
        })),
        ..Default::default()
    }
}

/// A gateway whose policy denies one path.
fn gateway() -> pb::Gateway {
    let denied = pb::AccessTest {
        attribute: pb::access_test::Attribute::Path.into(),
        values: vec!["/api/secret".into()],
        ..Default::default()
    };
    let matches = vec![pb::AccessMatch {
        tests: vec![denied],
    }];
    let clauses = vec![pb::AccessClause { matches }];
    let policy = pb::AccessPolicy {
        namespace: "shop".into(),
        name: "closed".into(),
        action: pb::access_policy::Action::Deny.into(),
        rules: vec![pb::AccessRule { index: 0, clauses }],
        dry_run: false,
    };
    pb::Gateway {
        name: "shop/waypoint".into(),
        policies: vec![policy],
        ..Default::default()
    }
}

/// A service with two routes: `/api` to a cluster with one of two pods ready, `/` to an empty one.
fn state() -> State {
    let service = wl::Service {
        name: "web".into(),
        namespace: "shop".into(),
        hostname: "web.shop.svc.cluster.local".into(),
        addresses: vec![wl::NetworkAddress {
            address: vec![10, 96, 0, 1],
            ..Default::default()
        }],
        ..Default::default()
    };
    let wild = wl::Service {
        name: "wild".into(),
        hostname: "*.wild".into(),
        addresses: vec![wl::NetworkAddress {
            address: vec![10, 96, 0, 2],
            ..Default::default()
        }],
        ..service.clone()
    };
    let router = pb::Router {
        gateway: "shop/waypoint".into(),
        service: SERVICE.into(),
        port: 80,
        http: vec![forward("/api", "c0"), forward("/empty", "c1")],
        ..Default::default()
    };
    let by_host = pb::Router {
        service: "shop/*.wild".into(),
        http: vec![forward("/api", "cw")],
        by_host: true,
        ..router.clone()
    };
    let cluster = |name: &str| pb::Cluster {
        name: name.into(),
        service: SERVICE.into(),
        port: 80,
        ..Default::default()
    };
    let member = |name: &str| pb::Endpoint {
        workload_uid: format!("c//Pod/shop/{name}"),
        target_port: 8080,
        weight: 1,
    };
    let members = pb::Endpoints {
        cluster: "c0".into(),
        endpoints: vec![member("a"), member("b"), member("gone")],
        gateways: vec![],
    };
    let (state, mut writer) = State::new("shop/waypoint");
    let mut feed = |type_url: &str, resources: Vec<(&str, Bytes)>| {
        let resources = resources
            .into_iter()
            .map(|(name, body)| (name.to_owned(), body));
        let update = Update {
            type_url: type_url.into(),
            resources: resources.collect(),
            removed: vec![],
            first: true,
        };
        assert_eq!(writer.update(&update), vec![]);
    };
    let pods = vec![
        (SERVICE, address(wl::address::Type::Service(service))),
        ("shop/*.wild", address(wl::address::Type::Service(wild))),
        ("c//Pod/shop/a", pod("a", 1, wl::WorkloadStatus::Healthy)),
        ("c//Pod/shop/b", pod("b", 2, wl::WorkloadStatus::Unhealthy)),
    ];
    feed(type_urls::ADDRESS, pods);
    let leads = pb::Cluster {
        service: "shop/*.wild".into(),
        by_host_port: 8080,
        ..cluster("cw")
    };
    let clusters = [("c0", cluster("c0")), ("c1", cluster("c1")), ("cw", leads)];
    let clusters = clusters.map(|(name, one)| (name, one.encode_to_vec().into()));
    feed(type_urls::CLUSTER, clusters.into());
    feed(
        type_urls::ENDPOINTS,
        vec![("c0", members.encode_to_vec().into())],
    );
    let gateway = gateway().encode_to_vec().into();
    feed(type_urls::GATEWAY, vec![("shop/waypoint", gateway)]);
    feed(
        type_urls::ROUTER,
        vec![
            ("r", router.encode_to_vec().into()),
            ("w", by_host.encode_to_vec().into()),
        ],
    );
    state
}

fn ask(to: &str, path: &str, headers: &[&str]) -> Result<Explanation, ExplainError> {
    let (me, state) = (me(), state());
    let mut rng = StdRng::seed_from_u64(1);
    let question = Question {
        to,
        identity: "spiffe://cluster.local/ns/shop/sa/client",
        client: "10.0.0.9",
        method: "GET",
        path,
        headers,
    };
    explain((&me, &state.load()), &question, &mut rng)
}

#[test]
fn a_request_is_followed_to_its_endpoint_and_every_fact_is_told() {
    let answer = ask("10.96.0.1:80", "/x/../api/1", &["x-user: a"]).unwrap();
    assert!(!answer.refused, "{answer:?}");
    assert_eq!(
        answer.decision,
        "forwarded to shop/a at 10.0.0.1:8080, of c0"
    );
    assert_eq!(answer.route, "route 0 `api` (VirtualService shop/web /api)");
    let told = answer.trace.join("\n");
    for fact in [
        "service shop/web.shop.svc.cluster.local, port 80",
        "/x/../api/1 is normalised to /api/1",
        "takes GET /api/1",
        "1 of 1 go to c0",
        "c//Pod/shop/a at 10.0.0.1:8080 can take it, in plaintext",
        "c//Pod/shop/b takes nothing: it is not ready",
        "c//Pod/shop/gone takes nothing: its workload is not known",
    ] {
        assert!(told.contains(fact), "no `{fact}` in {told}");
    }
}

#[test]
fn names_below_a_wildcard_lead_where_they_resolve_to_and_no_other_is_taken() {
    let answer = ask("10.96.0.2:80", "/api/1", &["host: a.wild:81"]).unwrap();
    let expected = "forwarded to an address of the request's Host, port 8080, of cw";
    assert_eq!((answer.refused, &*answer.decision), (false, expected));
    for host in ["host: wild", "host: a.wilder", "host: 10.0.0.1"] {
        let answer = ask("10.96.0.2:80", "/api/1", &[host]).unwrap();
        let expected = "answered with 404 here (route_not_found, flags NR)";
        assert!(answer.decision.starts_with(expected), "{answer:?}");
    }
}

#[test]
fn what_is_refused_says_where_and_how() {
    for (to, path, decision) in [
        (
            "10.96.0.1:80",
            "/other",
            "answered with 404 here (route_not_found, flags NR)",
        ),
        (
            "10.96.0.1:80",
            "/empty",
            "answered with 503 here (no_healthy_upstream, flags UH)",
        ),
        ("10.96.0.1:80", "/api/%73ecret", "answered with 403 here ("),
        (
            "10.96.0.1:80",
            "/a%00",
            "answered with 400 here (path_normalization_failed, flags DPE)",
        ),
        ("10.96.0.9:80", "/", "the stream is refused with 503"),
        ("10.0.0.1:8080", "/", "the stream is refused with 503"),
    ] {
        let answer = ask(to, path, &[]).unwrap();
        assert!(answer.refused, "{path}");
        assert!(answer.decision.starts_with(decision), "{answer:?}");
    }
}

#[test]
fn questions_that_make_no_sense_are_told_so() {
    assert!(matches!(
        ask("web", "/", &[]),
        Err(ExplainError::Authority(_))
    ));
    assert!(matches!(
        ask("10.96.0.1:80", "/", &["nothing"]),
        Err(ExplainError::Request(_))
    ));
    assert!(matches!(
        ask("10.96.0.1:80", "no path", &[]),
        Err(ExplainError::Request(_))
    ));
}
