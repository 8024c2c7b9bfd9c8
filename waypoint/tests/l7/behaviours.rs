//! Where a request goes, what changes on the way, what is reported.

use crate::backend::{Backend, Seen, reply};
use crate::mesh::{Mesh, VIP, base_router, local};
use ambit_api::route as pb;
use ambit_hbone::io::{ConnectError, OpenError};
use http::Version;
use pb::http_route::Action;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) fn to(clusters: &[(&str, u32)]) -> pb::HttpRoute {
    let clusters = clusters
        .iter()
        .map(|(cluster, weight)| pb::WeightedCluster {
            cluster: (*cluster).into(),
            weight: *weight,
            ..Default::default()
        })
        .collect();
    pb::HttpRoute {
        action: Some(Action::Forward(pb::Forward { clusters })),
        ..Default::default()
    }
}

fn exact(value: &str) -> Option<pb::StringMatch> {
    Some(pb::StringMatch {
        kind: Some(pb::string_match::Kind::Exact(value.into())),
    })
}

fn when_header(name: &str, value: &str, route: pb::HttpRoute) -> pb::HttpRoute {
    let headers = vec![pb::HeaderMatch {
        name: name.into(),
        value: exact(value),
        invert: false,
    }];
    pb::HttpRoute {
        matches: vec![pb::HttpMatch {
            headers,
            ..Default::default()
        }],
        ..route
    }
}

fn when_prefix(prefix: &str, route: pb::HttpRoute) -> pb::HttpRoute {
    let kind = Some(pb::path_match::Kind::Prefix(prefix.into()));
    let path = Some(pb::PathMatch {
        kind,
        ignore_case: false,
    });
    pb::HttpRoute {
        matches: vec![pb::HttpMatch {
            path,
            ..Default::default()
        }],
        ..route
    }
}

#[test]
fn requests_are_split_by_weight_over_http1_and_http2() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let answer = |_: usize, _: &Seen| reply(200, "ok".into());
        let v1 = Backend::http(&mesh, "v1", pb::Protocol::Http1, answer).await;
        let v2 = Backend::http(&mesh, "v2", pb::Protocol::Http1, answer).await;
        mesh.configure(&[&v1, &v2], vec![to(&[("c0", 90), ("c1", 10)])]);
        let client = mesh.client().await;
        let (mut one, mut two) = (client.http1().await, client.http2().await);
        for _ in 0..1000 {
            assert_eq!(one.get("/", &[]).await.status, 200);
            assert_eq!(two.get("/", &[]).await.status, 200);
        }
        // Four and a half standard deviations either way; the seed is fixed.
        assert!((1740..=1860).contains(&v1.count()), "{}", v1.count());
        assert_eq!(v1.count() + v2.count(), 2000);
    });
}

#[test]
fn http2_from_the_client_is_http2_to_an_undeclared_port_and_converted_to_a_declared_one() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let two = Backend::http(&mesh, "two", pb::Protocol::Http2, |_, _| {
            reply(200, "two".into())
        })
        .await;
        let one = Backend::http(&mesh, "one", pb::Protocol::Http1, |_, _| {
            reply(200, "one".into())
        })
        .await;
        let routes = vec![when_prefix("/one", to(&[("c1", 1)])), to(&[("c0", 1)])];
        mesh.configure(&[&two, &one], routes);
        let client = mesh.client().await;
        let mut h2 = client.http2().await;
        assert_eq!(h2.get("/x", &[]).await.body, "two");
        assert_eq!(h2.get("/one", &[]).await.body, "one");
        assert_eq!(two.last().version, Version::HTTP_2);
        assert_eq!(one.last().version, Version::HTTP_11);
        assert_eq!(one.last().headers["host"], "web");
        let mut h1 = client.http1().await;
        assert_eq!(h1.get("/x", &[]).await.body, "two");
    });
}

#[test]
fn a_header_chooses_the_route_and_no_match_is_404() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v2 = Backend::named(&mesh, "v2").await;
        mesh.configure(
            &[&v2],
            vec![when_header("end-user", "jason", to(&[("c0", 1)]))],
        );
        let client = mesh.client().await;
        let mut http = client.http1().await;
        assert_eq!(http.get("/", &[("end-user", "jason")]).await.body, "v2");
        let got = http.get("/", &[("end-user", "ann")]).await;
        assert_eq!((got.status.as_u16(), got.body.as_str()), (404, ""));
        mesh.line(&["\"GET / HTTP/1.1\" 404 NR route_not_found"])
            .await;
        mesh.series(&[
            "istio_requests_total",
            "response_flags=\"NR\"",
            "response_code=\"404\"",
        ])
        .await;
    });
}

#[test]
fn headers_paths_and_hosts_are_changed_as_the_route_says() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        let header = |name: &str, value: &str| pb::Header {
            name: name.into(),
            value: value.into(),
        };
        let rewrite = pb::Rewrite {
            path: Some(pb::rewrite::Path::PrefixOrFull("/v2".into())),
            authority: "other.example".into(),
        };
        let route = pb::HttpRoute {
            request_headers: Some(pb::HeaderOps {
                set: vec![header("x-set", "new")],
                add: vec![header("x-add", "more")],
                remove: vec!["x-gone".into()],
            }),
            response_headers: Some(pb::HeaderOps {
                set: vec![header("x-answer", "1")],
                ..Default::default()
            }),
            rewrite: Some(rewrite),
            ..when_prefix("/api", to(&[("c0", 1)]))
        };
        mesh.configure(&[&v1], vec![route]);
        let client = mesh.client().await;
        let sent = [
            ("x-set", "old"),
            ("x-gone", "1"),
            ("connection", "x-private"),
            ("x-private", "1"),
            ("x-forwarded-client-cert", "URI=forged"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
        ];
        let got = client.http1().await.get("/api/users?a=1", &sent).await;
        assert_eq!(
            (got.body.as_str(), &got.headers["x-answer"]),
            ("v1", &http::HeaderValue::from_static("1"))
        );
        let seen = v1.last();
        assert_eq!(seen.uri, "/v2/users?a=1");
        assert_eq!(seen.headers["host"], "other.example");
        assert_eq!(seen.headers["x-set"], "new");
        assert_eq!(seen.headers["x-add"], "more");
        assert_eq!(seen.headers["x-forwarded-proto"], "http");
        assert_eq!(seen.headers["x-request-id"].len(), 36);
        assert_eq!(seen.headers["x-envoy-original-path"], "/api/users?a=1");
        assert_eq!(
            seen.headers["x-forwarded-client-cert"],
            "By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/shop/sa/client"
        );
        assert!(seen.headers.contains_key("traceparent"));
        assert!(!seen.headers.contains_key("x-gone") && !seen.headers.contains_key("x-private"));
    });
}

#[test]
fn redirects_and_fixed_answers_need_no_backend() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let redirect = pb::Redirect {
            path: Some(pb::redirect::Path::Full("/new".into())),
            code: 308,
            ..Default::default()
        };
        let fixed = pb::DirectResponse {
            status: 418,
            body: b"teapot".to_vec(),
        };
        let action = |action| pb::HttpRoute {
            action: Some(action),
            ..Default::default()
        };
        mesh.configure(
            &[],
            vec![
                when_prefix("/old", action(Action::Redirect(redirect))),
                when_prefix("/tea", action(Action::DirectResponse(fixed))),
            ],
        );
        let client = mesh.client().await;
        let mut http = client.http1().await;
        let got = http.get("/old?q=1", &[]).await;
        assert_eq!(
            (got.status.as_u16(), &got.headers["location"]),
            (308, &http::HeaderValue::from_static("http://web/new?q=1"))
        );
        let got = http.get("/tea", &[]).await;
        assert_eq!((got.status.as_u16(), got.body.as_str()), (418, "teapot"));
    });
}

#[test]
fn a_mirror_sees_the_whole_request_and_its_answer_goes_nowhere() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let main = Backend::named(&mesh, "main").await;
        let mirror = Backend::http(&mesh, "mirror", pb::Protocol::Auto, |_, _| {
            reply(500, "no".into())
        })
        .await;
        let route = pb::HttpRoute {
            mirrors: vec![pb::Mirror {
                cluster: "c1".into(),
                ppm: 1_000_000,
            }],
            ..to(&[("c0", 1)])
        };
        mesh.configure(&[&main, &mirror], vec![route]);
        let client = mesh.client().await;
        let got = client
            .http1()
            .await
            .send("POST", "/x", &[], "payload")
            .await;
        assert_eq!(got.body, "main");
        mirror.wait_for(1).await;
        let seen = mirror.last();
        assert_eq!(
            (&seen.body[..], seen.method.as_str()),
            (&b"payload"[..], "POST")
        );
        assert_eq!(seen.headers["host"], "web-shadow");
    });
}

#[test]
fn a_backend_without_tunnel_is_reached_in_plaintext() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let plain = Backend::plain(&mesh, "plain").await;
        mesh.configure(&[&plain], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        assert_eq!(client.http1().await.get("/", &[]).await.body, "plain");
        mesh.series(&[
            "istio_requests_total",
            "destination_principal=\"unknown\"",
            "destination_workload=\"plain\"",
        ])
        .await;
    });
}

#[test]
fn every_request_is_reported_with_both_ends() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        let named = pb::HttpRoute {
            name: "first".into(),
            ..to(&[("c0", 1)])
        };
        mesh.configure(&[&v1], vec![named]);
        let client = mesh.client().await;
        let sent = [("user-agent", "test/1"), ("x-request-id", "abc")];
        client
            .http1()
            .await
            .send("POST", "/a", &sent, "12345")
            .await;
        let line = mesh
            .line(&["\"POST /a HTTP/1.1\" 200 - via_upstream"])
            .await;
        for part in [
            "\"test/1\" \"abc\" \"web\"",
            "c0",
            "10.96.0.1:80 127.0.0.1:4321 - first",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let series = mesh.series(&["istio_requests_total"]).await;
        for label in [
            "reporter=\"waypoint\"",
            "source_workload=\"client\"",
            "source_canonical_service=\"client\"",
            "source_canonical_revision=\"v1\"",
            "source_principal=\"spiffe://cluster.local/ns/shop/sa/client\"",
            "destination_workload=\"v1\"",
            "destination_principal=\"spiffe://cluster.local/ns/shop/sa/v1\"",
            "destination_service=\"web.shop.svc.cluster.local\"",
            "destination_service_name=\"web\"",
            "request_protocol=\"http\"",
            "response_flags=\"-\"",
            "connection_security_policy=\"mutual_tls\"",
            "response_code=\"200\"",
            "grpc_response_status=\"unknown\"} 1",
        ] {
            assert!(series.contains(label), "{label} in {series}");
        }
    });
}

#[test]
fn bytes_are_split_by_weight_and_half_close_crosses() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let (a, b) = (
            Backend::echo(&mesh, "a").await,
            Backend::echo(&mesh, "b").await,
        );
        mesh.configure(&[&a, &b], vec![]);
        let clusters = vec![pb::WeightedCluster {
            cluster: "c1".into(),
            weight: 1,
            ..Default::default()
        }];
        let tcp = vec![pb::TcpRoute {
            source: String::new(),
            clusters,
        }];
        mesh.router(pb::Router {
            protocol: pb::Protocol::Tcp.into(),
            tcp,
            ..base_router(81)
        });
        let client = mesh.client().await;
        let mut io = client.open(&format!("{VIP}:81")).await.unwrap();
        io.write_all(b" hello").await.unwrap();
        io.shutdown().await.unwrap();
        let mut got = String::new();
        io.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "b hello");
        assert_eq!(
            b.forwarded.borrow()[0].as_ref().unwrap().client,
            "127.0.0.1:4321".parse().unwrap()
        );
        mesh.line(&["\"- - -\" 0 -", "6 7"]).await;
        mesh.series(&[
            "istio_tcp_connections_closed_total",
            "reporter=\"waypoint\"",
            "destination_workload=\"b\"",
            "} 1",
        ])
        .await;
        mesh.series(&["istio_tcp_sent_bytes_total", "} 7"]).await;
    });
}

#[test]
fn what_is_not_ours_is_refused_with_a_reason() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        mesh.configure(&[], vec![to(&[("c0", 1)])]);
        let client = mesh.client().await;
        for authority in ["10.96.0.99:80", "10.96.0.1:82", "nobody.example:80"] {
            match client.open(authority).await {
                Err(OpenError::Connect(ConnectError::Refused { status, reason })) => {
                    assert_eq!(
                        (status.as_u16(), reason.as_deref()),
                        (503, Some("not-served")),
                        "{authority}"
                    );
                }
                other => panic!("{authority}: {}", other.is_ok()),
            }
        }
    });
}

#[test]
fn a_stream_waits_for_configuration_that_is_on_its_way() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        let client = mesh.client().await;
        let mut opening = Box::pin(client.http1());
        let early = tokio::time::timeout(Duration::from_millis(200), &mut opening).await;
        assert!(early.is_err(), "nothing is known yet, so it is held");
        mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
        assert_eq!(opening.await.get("/", &[]).await.body, "v1");
    });
}
