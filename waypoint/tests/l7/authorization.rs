//! Who may do what: refusals as clients, logs and metrics see them.

use crate::backend::Backend;
use crate::behaviours::to;
use crate::client::Client;
use crate::mesh::{Mesh, VIP, base_router, local};
use ambit_api::route as pb;
use pb::access_policy::Action;
use pb::access_test::Attribute;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) fn test(attribute: Attribute, header: &str, values: &[&str]) -> pb::AccessTest {
    pb::AccessTest {
        attribute: attribute.into(),
        header: header.into(),
        values: values.iter().map(ToString::to_string).collect(),
        negated: false,
    }
}

/// One rule whose clauses have one test each.
pub(crate) fn policy(name: &str, action: Action, tests: Vec<pb::AccessTest>) -> pb::AccessPolicy {
    let clauses = tests
        .into_iter()
        .map(|test| pb::AccessClause {
            matches: vec![pb::AccessMatch { tests: vec![test] }],
        })
        .collect();
    pb::AccessPolicy {
        namespace: "shop".into(),
        name: name.into(),
        action: action.into(),
        rules: vec![pb::AccessRule { index: 0, clauses }],
        dry_run: false,
    }
}

/// A waypoint whose service has these policies.
async fn guarded(policies: Vec<pb::AccessPolicy>) -> (Mesh, Backend) {
    let mut mesh = Mesh::start().await;
    let v1 = Backend::named(&mesh, "v1").await;
    mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
    mesh.router(pb::Router {
        http: vec![to(&[("c0", 1)])],
        policies,
        ..base_router(80)
    });
    (mesh, v1)
}

fn only_client_gets() -> pb::AccessPolicy {
    let tests = vec![
        test(
            Attribute::Principal,
            "",
            &["cluster.local/ns/shop/sa/client"],
        ),
        test(Attribute::Method, "", &["GET"]),
    ];
    policy("viewer", Action::Allow, tests)
}

#[test]
fn only_what_a_rule_allows_passes_and_the_rest_is_403_with_the_policy_in_the_log() {
    local(|| async {
        let (mesh, v1) = guarded(vec![only_client_gets()]).await;
        let mut client = mesh.client().await.http1().await;
        assert_eq!(client.get("/a", &[]).await.body, "v1");
        let refused = client.send("POST", "/b", &[], "body").await;
        assert_eq!(refused.status, 403);
        assert_eq!(refused.body, "RBAC: access denied");
        let eve = Client::new(mesh.svid("eve").await, mesh.address);
        let mut eve = eve.http1().await;
        let forged = "By=x;URI=spiffe://cluster.local/ns/shop/sa/client";
        let headers = [("x-forwarded-client-cert", forged)];
        assert_eq!(eve.get("/c", &headers).await.status, 403);
        assert_eq!(v1.count(), 1);
        let details = "403 - rbac_access_denied_matched_policy[none]";
        mesh.line(&["\"POST /b HTTP/1.1\"", details]).await;
        mesh.line(&["\"GET /c HTTP/1.1\"", details]).await;
        mesh.series(&[
            "istio_requests_total",
            "source_principal=\"spiffe://cluster.local/ns/shop/sa/eve\"",
            "response_code=\"403\"",
            "} 1",
        ])
        .await;
    });
}

#[test]
fn a_deny_rule_is_named_and_comes_before_routes_and_allow() {
    local(|| async {
        let tests = vec![test(Attribute::Path, "", &["/admin/{**}"])];
        let deny = policy("no-admin", Action::Deny, tests);
        let allow = policy("all", Action::Allow, vec![]);
        let (mesh, v1) = guarded(vec![allow, deny]).await;
        let mut client = mesh.client().await.http1().await;
        for path in ["/admin/x", "/open/../admin/x", "/admin/?q=/open"] {
            assert_eq!(client.get(path, &[]).await.status, 403, "{path}");
        }
        assert_eq!(client.get("/administration", &[]).await.status, 200);
        assert_eq!(v1.count(), 1);
        mesh.line(&[
            "/admin/x",
            "rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]",
        ])
        .await;
    });
}

#[test]
fn grpc_calls_get_status_7_and_headers_are_asked() {
    local(|| async {
        let tests = vec![test(Attribute::Header, "x-tier", &["blocked"])];
        let (mesh, v1) = guarded(vec![policy("tier", Action::Deny, tests)]).await;
        let mut client = mesh.client().await.http2().await;
        let grpc = ("content-type", "application/grpc");
        let got = client.get("/s/M", &[grpc, ("x-tier", "blocked")]).await;
        assert_eq!(
            (got.status.as_u16(), &got.headers["grpc-status"]),
            (200, &"7".parse().unwrap())
        );
        assert_eq!(got.headers["grpc-message"], "RBAC: access denied");
        let twice = [("x-tier", "gold"), ("x-tier", "blocked")];
        assert_eq!(client.get("/", &twice).await.status, 403);
        let mut gold = mesh.client().await.http1().await;
        assert_eq!(gold.get("/", &[("x-tier", "gold")]).await.body, "v1");
        assert_eq!(v1.count(), 1);
        mesh.series(&["istio_requests_total", "grpc_response_status=\"7\"", "} 1"])
            .await;
    });
}

#[test]
fn what_the_gateway_demands_holds_for_services_and_for_pods() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let v1 = Backend::named(&mesh, "v1").await;
        mesh.waypoint_of = vec!["v1".into()];
        mesh.configure(&[&v1], vec![to(&[("c0", 1)])]);
        let pod = v1.address.to_string();
        let client = mesh.client().await;
        assert_eq!(client.http1_to(&pod).await.get("/", &[]).await.status, 200);
        let namespace = vec![test(Attribute::Namespace, "", &["elsewhere"])];
        mesh.gateway(vec![policy("default", Action::Allow, namespace)]);
        assert_eq!(client.http1_to(&pod).await.get("/", &[]).await.status, 403);
        assert_eq!(client.http1().await.get("/", &[]).await.status, 403);
        mesh.gateway(vec![]);
        assert_eq!(client.http1().await.get("/", &[]).await.status, 200);
    });
}

#[test]
fn without_what_the_gateway_demands_nothing_passes() {
    local(|| async {
        let (mut mesh, v1) = guarded(vec![]).await;
        let mut client = mesh.client().await.http1().await;
        assert_eq!(client.get("/", &[]).await.status, 200);
        mesh.forget_gateway();
        assert_eq!(client.get("/", &[]).await.status, 503);
        assert_eq!(v1.count(), 1);
        mesh.line(&["503 NC router_not_configured"]).await;
    });
}

#[test]
fn a_policy_on_trial_lets_pass_and_is_counted() {
    local(|| async {
        let trial = |name, action, tests| pb::AccessPolicy {
            dry_run: true,
            ..policy(name, action, tests)
        };
        let posts = vec![test(Attribute::Method, "", &["POST"])];
        let policies = vec![
            trial("all", Action::Deny, vec![]),
            trial("posts", Action::Allow, posts),
        ];
        let (mesh, _v1) = guarded(policies).await;
        let mut client = mesh.client().await.http1().await;
        assert_eq!(client.get("/", &[]).await.status, 200);
        for (name, action, matched) in [("all", "DENY", "true"), ("posts", "ALLOW", "false")] {
            let (policy, action, matched) = (
                format!("policy=\"shop/{name}\""),
                format!("action=\"{action}\""),
                format!("matched=\"{matched}\""),
            );
            mesh.series(&[
                "ambit_policies_on_trial_total",
                &policy,
                &action,
                &matched,
                "} 1",
            ])
            .await;
        }
    });
}

#[test]
fn a_connection_of_bytes_is_cut_when_a_policy_no_longer_admits_it() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let echo = Backend::echo(&mesh, "echo").await;
        mesh.configure(&[&echo], vec![]);
        mesh.router(bytes(vec![]));
        let client = mesh.client().await;
        let mut io = client.open(&format!("{VIP}:81")).await.unwrap();
        io.write_all(b" before").await.unwrap();
        let mut got = *b"echo before";
        io.read_exact(&mut got).await.unwrap();
        let from = test(Attribute::Namespace, "", &["shop"]);
        mesh.gateway(vec![policy("late", Action::Deny, vec![from])]);
        let end = io.read(&mut got).await;
        assert!(end.is_err(), "{end:?}");
        mesh.line(&["\"- - -\" 0 -", "ns[shop]-policy[late]-rule[0]"])
            .await;
    });
}

/// A router that sends bytes to `c0`.
fn bytes(policies: Vec<pb::AccessPolicy>) -> pb::Router {
    let clusters = vec![pb::WeightedCluster {
        cluster: "c0".into(),
        weight: 1,
        ..Default::default()
    }];
    pb::Router {
        protocol: pb::Protocol::Tcp.into(),
        tcp: vec![pb::TcpRoute {
            clusters,
            ..Default::default()
        }],
        policies,
        ..base_router(81)
    }
}

/// A TLS ClientHello with one extension: this server name.
fn hello(name: &str) -> Vec<u8> {
    let sized = |width: usize, content: Vec<u8>| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [length[4 - width..].to_vec(), content].concat()
    };
    let entry = [vec![0], sized(2, name.as_bytes().to_vec())].concat();
    let extension = [vec![0, 0], sized(2, sized(2, entry))].concat();
    let body = [
        vec![3, 3],
        vec![7; 32],
        sized(1, vec![]),
        sized(2, vec![0x13, 1]),
        sized(1, vec![0]),
        sized(2, extension),
    ]
    .concat();
    let handshake = [vec![1], sized(3, body)].concat();
    [vec![22, 3, 1], sized(2, handshake)].concat()
}

#[test]
fn connections_of_bytes_are_asked_too_and_by_their_server_name() {
    local(|| async {
        let mut mesh = Mesh::start().await;
        let echo = Backend::echo(&mesh, "echo").await;
        mesh.configure(&[&echo], vec![]);
        let names = vec![test(Attribute::Sni, "", &["*.db"])];
        mesh.router(bytes(vec![policy("names", Action::Allow, names)]));
        let client = mesh.client().await;
        for (name, allowed) in [("one.db", true), ("two.web", false)] {
            let mut io = client.open(&format!("{VIP}:81")).await.unwrap();
            let sent = hello(name);
            io.write_all(&sent).await.unwrap();
            io.shutdown().await.unwrap();
            let mut got = Vec::new();
            let read = io.read_to_end(&mut got).await;
            assert_eq!(read.is_ok(), allowed, "{name}: {read:?}");
            assert_eq!(got.ends_with(&sent), allowed, "{name}");
        }
        mesh.line(&["\"- - -\" 0 - rbac_access_denied_matched_policy[none]"])
            .await;
        mesh.series(&["istio_tcp_connections_failed_total", "} 1"])
            .await;
    });
}

/// What the client in these tests proves to be.
const TRUE: &str =
    "By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/shop/sa/client";

#[test]
fn policies_and_routes_see_who_called_and_applications_only_if_they_are_told() {
    local(|| async {
        let name = "x-forwarded-client-cert";
        let allow = policy(
            "known",
            Action::Allow,
            vec![test(Attribute::Header, name, &[TRUE])],
        );
        let (mut mesh, v1) = guarded(vec![allow]).await;
        let mut client = mesh.client().await.http1().await;
        let forged = "URI=spiffe://cluster.local/ns/shop/sa/admin";
        let named = [(name, forged), ("connection", name)];
        for headers in [&[][..], &named[..1], &named[..]] {
            assert_eq!(client.get("/", headers).await.status, 200, "{headers:?}");
            assert_eq!(v1.last().headers[name], TRUE);
        }
        let eve = Client::new(mesh.svid("eve").await, mesh.address);
        let mut eve = eve.http1().await;
        assert_eq!(eve.get("/", &[(name, TRUE)]).await.status, 403);

        mesh.demands(pb::Gateway {
            withholds_client: true,
            ..Default::default()
        });
        for headers in [&[][..], &named[..]] {
            assert_eq!(client.get("/", headers).await.status, 200, "{headers:?}");
            assert!(!v1.last().headers.contains_key(name), "{headers:?}");
        }
    });
}
