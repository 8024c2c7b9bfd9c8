use super::*;
use ambit_api::route as pb;
use ambit_model::convert::route;
use http::HeaderValue;
use proptest::prelude::*;

fn router(routes: Vec<Vec<pb::HttpMatch>>) -> Router {
    let forward = pb::Forward {
        clusters: vec![pb::WeightedCluster {
            cluster: "ns/h/80".into(),
            weight: 1,
            ..Default::default()
        }],
    };
    let http = routes
        .into_iter()
        .map(|matches| pb::HttpRoute {
            matches,
            action: Some(pb::http_route::Action::Forward(forward.clone())),
            ..Default::default()
        })
        .collect();
    let message = pb::Router {
        gateway: "ns/gw".into(),
        service: "ns/h".into(),
        port: 80,
        http,
        ..Default::default()
    };
    route::router(message).unwrap()
}

fn text(kind: &str, value: &str) -> Option<pb::StringMatch> {
    use pb::string_match::{Kind, Present};
    let kind = Some(match kind {
        "exact" => Kind::Exact(value.into()),
        "prefix" => Kind::Prefix(value.into()),
        "regex" => Kind::Regex(value.into()),
        _ => Kind::Present(Present {}),
    });
    Some(pb::StringMatch { kind })
}

fn path(kind: &str, value: &str, ignore_case: bool) -> pb::HttpMatch {
    use pb::path_match::Kind;
    let value = value.to_owned();
    let kind = Some(match kind {
        "exact" => Kind::Exact(value),
        "prefix" => Kind::Prefix(value),
        "segment" => Kind::SegmentPrefix(value),
        _ => Kind::Regex(value),
    });
    pb::HttpMatch {
        path: Some(pb::PathMatch { kind, ignore_case }),
        ..Default::default()
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn view<'a>(target: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    RequestView {
        method: &Method::GET,
        scheme: "http",
        authority: "web:80",
        path,
        query,
        headers,
    }
}

fn takes_it(m: pb::HttpMatch, target: &str, given: &HeaderMap) -> Option<PathMatched> {
    find(&router(vec![vec![m]]), &view(target, given)).map(|m| m.path)
}

#[test]
fn paths_match_as_the_table_says() {
    use PathMatched::{Prefix, Whole};
    let none = HeaderMap::new();
    let table = [
        (path("exact", "/a", false), "/a?x=1", Some(Whole)),
        (path("exact", "/a", false), "/a/", None),
        (path("exact", "/A", true), "/a", Some(Whole)),
        (path("exact", "/A", false), "/a", None),
        (path("prefix", "/a", false), "/abc", Some(Prefix(2))),
        (path("prefix", "/A", true), "/abc", Some(Prefix(2))),
        (path("prefix", "/abc", false), "/a", None),
        (path("segment", "/a", false), "/a", Some(Prefix(2))),
        (path("segment", "/a", false), "/a/b", Some(Prefix(2))),
        (path("segment", "/a/", false), "/a", Some(Prefix(2))),
        (path("segment", "/a", false), "/abc", None),
        (path("segment", "/", false), "/anything", Some(Prefix(0))),
        (path("regex", "/v[0-9]+/.*", false), "/v12/x", Some(Whole)),
        (path("regex", "/v[0-9]+", false), "/v12/x", None),
        (path("regex", "/a|/b", false), "/bc", None),
        (path("prefix", "/é", false), "/", None),
        (pb::HttpMatch::default(), "/x", Some(Prefix(1))),
        (pb::HttpMatch::default(), "*", Some(Prefix(0))),
    ];
    for (m, target, expected) in table {
        assert_eq!(
            takes_it(m.clone(), target, &none),
            expected,
            "{m:?} {target}"
        );
    }
}

#[test]
fn headers_and_queries_match_as_the_table_says() {
    let given = headers(&[("x-user", "ann"), ("accept", "a"), ("accept", "b")]);
    let header = |name: &str, kind: &str, value: &str, invert| pb::HttpMatch {
        headers: vec![pb::HeaderMatch {
            name: name.into(),
            value: text(kind, value),
            invert,
        }],
        ..Default::default()
    };
    let query = |name: &str, kind: &str, value: &str| pb::HttpMatch {
        query: vec![pb::QueryMatch {
            name: name.into(),
            value: text(kind, value),
        }],
        ..Default::default()
    };
    let method = |kind: &str, value: &str| pb::HttpMatch {
        method: text(kind, value),
        ..Default::default()
    };
    let authority = |kind: &str, value: &str| pb::HttpMatch {
        authority: text(kind, value),
        ..Default::default()
    };
    let table = [
        (header("x-user", "exact", "ann", false), true),
        (header("X-User", "exact", "ann", false), true),
        (header("x-user", "exact", "bob", false), false),
        (header("x-user", "prefix", "an", false), true),
        (header("x-user", "regex", "a", false), false),
        (header("x-user", "regex", "a.*", false), true),
        (header("x-user", "present", "", false), true),
        (header("x-none", "present", "", false), false),
        (header("x-none", "exact", "a", true), true),
        (header("x-user", "exact", "ann", true), false),
        (header("x-user", "present", "", true), false),
        (header("accept", "exact", "a,b", false), true),
        (header(":method", "exact", "GET", false), true),
        (header(":path", "prefix", "/p?", false), true),
        (header("host", "exact", "web:80", false), true),
        (query("a", "exact", "1"), true),
        (query("a", "exact", "2"), false),
        (query("b", "present", ""), true),
        (query("c", "present", ""), false),
        (query("a", "regex", "[0-9]"), true),
        (method("exact", "GET"), true),
        (method("exact", "get"), false),
        (authority("exact", "web:80"), true),
        (authority("exact", "web"), false),
        (authority("prefix", "web"), true),
    ];
    for (m, expected) in table {
        let got = takes_it(m.clone(), "/p?a=1&b&a=2", &given).is_some();
        assert_eq!(got, expected, "{m:?}");
    }
}

#[test]
fn the_first_route_wins_and_matches_are_ored() {
    let routes = router(vec![
        vec![path("exact", "/a", false), path("exact", "/b", false)],
        vec![path("prefix", "/", false)],
        vec![],
    ]);
    let none = HeaderMap::new();
    for (target, index) in [("/a", 0), ("/b", 0), ("/c", 1), ("*", 2)] {
        assert_eq!(
            find(&routes, &view(target, &none)).unwrap().index,
            index,
            "{target}"
        );
    }
    assert!(find(&router(vec![]), &view("/", &none)).is_none());
}

proptest! {
    /// Whatever is sent, matching ends and a prefix is never longer than the path.
    #[test]
    fn hostile_paths_do_no_harm(target in "\\PC{0,40}", wanted in "\\PC{0,10}", ignore: bool) {
        let none = HeaderMap::new();
        for kind in ["exact", "prefix", "segment"] {
            let m = path(kind, &wanted, ignore);
            if let Some(PathMatched::Prefix(n)) = takes_it(m, &target, &none) {
                prop_assert!(n <= target.len());
                let rewrite = ambit_model::route::PathRewrite::PrefixOrFull("/x".into());
                let view = view(&target, &none);
                super::super::rewrite::path_and_query(&rewrite, PathMatched::Prefix(n), view.path, view.query);
            }
        }
    }
}
