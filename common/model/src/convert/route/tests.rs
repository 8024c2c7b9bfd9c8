use super::*;
use crate::route::{RetryOn, TextMatch};
use pb::http_route::Action as PbAction;

fn text(kind: pb::string_match::Kind) -> Option<pb::StringMatch> {
    Some(pb::StringMatch { kind: Some(kind) })
}

fn base() -> pb::Router {
    let cluster = pb::WeightedCluster {
        cluster: "ns/host/80".into(),
        weight: 1,
        ..Default::default()
    };
    pb::Router {
        gateway: "ns/waypoint".into(),
        service: "ns/host".into(),
        port: 80,
        http: vec![pb::HttpRoute {
            action: Some(PbAction::Forward(pb::Forward {
                clusters: vec![cluster],
            })),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn field_of(m: pb::Router) -> String {
    router(m).unwrap_err().field
}

#[test]
fn a_router_becomes_what_it_says() {
    let mut m = base();
    m.http[0].retry = Some(pb::Retry {
        attempts: 2,
        on: vec![pb::RetryOn::FiveXx.into()],
        status_codes: vec![503],
        ..Default::default()
    });
    m.http[0].request_headers = Some(pb::HeaderOps {
        set: vec![
            pb::Header {
                name: "Host".into(),
                value: "other.example".into(),
            },
            pb::Header {
                name: "X-A".into(),
                value: "1".into(),
            },
        ],
        ..Default::default()
    });
    m.http[0].matches = vec![pb::HttpMatch {
        headers: vec![pb::HeaderMatch {
            name: "x-user".into(),
            value: text(pb::string_match::Kind::Regex("a.*".into())),
            invert: false,
        }],
        ..Default::default()
    }];
    let router = router(m).unwrap();
    let route = &router.http[0];
    assert_eq!(
        route.request_headers.authority.as_ref().unwrap().host(),
        "other.example"
    );
    assert_eq!(route.request_headers.set[0].0, "x-a");
    let retry = route.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, &retry.on[..]), (2, &[RetryOn::FiveXx][..]));
    assert_eq!(retry.backoff_base, Duration::from_millis(25));
    let TextMatch::Regex(expression) = &route.matches[0].headers[0].value else {
        panic!()
    };
    assert!(expression.matches(b"abc") && !expression.matches(b"xabc"));
}

/// The field a router is refused for, changed like this.
fn with(change: &dyn Fn(&mut pb::Router)) -> String {
    let mut m = base();
    change(&mut m);
    field_of(m)
}

/// The same, with one route changed.
fn route(change: &dyn Fn(&mut pb::HttpRoute)) -> String {
    with(&|m| change(&mut m.http[0]))
}

#[test]
fn every_wrong_field_of_matches_and_headers_is_named() {
    let header = |name: &str, value: &str| pb::Header {
        name: name.into(),
        value: value.into(),
    };
    assert_eq!(with(&|m| m.port = 70_000), "port");
    assert_eq!(with(&|m| m.port = 0), "port");
    assert_eq!(with(&|m| m.service = "x".into()), "service");
    assert_eq!(with(&|m| m.protocol = 99), "protocol");
    assert_eq!(route(&|r| r.action = None), "http[0]");
    assert_eq!(
        route(&|r| {
            let kind = Some(pb::path_match::Kind::Regex("(".into()));
            let path = Some(pb::PathMatch {
                kind,
                ignore_case: false,
            });
            r.matches = vec![pb::HttpMatch {
                path,
                ..Default::default()
            }];
        }),
        "http[0].matches[0].path.regex"
    );
    assert_eq!(
        route(&|r| {
            let set = vec![header("bad name", "x")];
            r.request_headers = Some(pb::HeaderOps {
                set,
                ..Default::default()
            });
        }),
        "http[0].request_headers.set[0].name"
    );
    assert_eq!(
        route(&|r| {
            let add = vec![header("x", "a\nb")];
            r.response_headers = Some(pb::HeaderOps {
                add,
                ..Default::default()
            });
        }),
        "http[0].response_headers.add[0].value"
    );
}

#[test]
fn every_wrong_field_of_actions_is_named() {
    assert_eq!(
        route(&|r| {
            let regex = pb::RegexRewrite {
                pattern: "a".into(),
                substitution: "\\1".into(),
            };
            let path = Some(pb::rewrite::Path::Regex(regex));
            r.rewrite = Some(pb::Rewrite {
                path,
                ..Default::default()
            });
        }),
        "http[0].rewrite.regex"
    );
    assert_eq!(
        route(&|r| {
            let redirect = pb::Redirect {
                code: 404,
                ..Default::default()
            };
            r.action = Some(PbAction::Redirect(redirect));
        }),
        "http[0].redirect.code"
    );
    assert_eq!(
        route(&|r| {
            let abort = Some(pb::fault::Abort {
                status: None,
                ppm: 1,
            });
            r.fault = Some(pb::Fault { abort, delay: None });
        }),
        "http[0].fault.abort"
    );
}

#[test]
fn an_unbalanced_expression_is_not_saved_by_the_anchors() {
    assert!(crate::route::FullMatch::new("a)(b").is_err());
    assert!(crate::route::FullMatch::new("a{1000}{1000}{1000}").is_err());
}
