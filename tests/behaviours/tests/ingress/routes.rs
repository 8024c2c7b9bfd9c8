//! Hosts, matches, weights, policies and headers at a gateway.

use crate::door::{answers, ask, gateway, open, route};
use crate::stage::{Stage, VERSION};
use ambit_harness::demo::scene::BOOKINFO;
use anyhow::{Context, Result, ensure};

const LISTENERS: &str = "  - {name: any, port: 8080, protocol: HTTP}\n  \
                         - {name: shop, port: 8080, protocol: HTTP, hostname: '*.shop.example'}\n";

/// A Service for one version each.
fn services() -> String {
    let one = |n: u8| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: reviews-v{n}, namespace: bookinfo}}\n\
             spec:\n  clusterIP: 10.96.1.2{n}\n  selector: {{app: reviews, version: v{n}}}\n  \
             ports: [{{name: http, port: 9080, targetPort: 9080}}]\n---\n"
        )
    };
    (1..=3).map(one).collect()
}

fn backends(of: &str) -> String {
    format!("    backendRefs: [{of}]\n")
}

async fn set_up(stage: &Stage) -> Result<String> {
    stage.lab.apply("versions", &services())?;
    stage.lab.apply("front", &gateway(LISTENERS))?;
    let rules = format!(
        "  - matches: [{{path: {{value: /echo}}, headers: [{{name: x-version, value: two}}]}}]\n{}  \
           - matches: [{{path: {{value: /echo/split}}}}]\n{}  \
           - matches: [{{path: {{value: /echo/lost}}}}]\n{}  \
           - matches: [{{path: {{value: /echo}}}}]\n{}",
        backends("{name: reviews-v2, port: 9080}"),
        backends(
            "{name: reviews-v1, port: 9080, weight: 1}, {name: reviews-v2, port: 9080, weight: 0}, {name: reviews-v3, port: 9080, weight: 1}"
        ),
        backends("{name: nobody, port: 9080}"),
        backends("{name: reviews-v1, port: 9080}"),
    );
    let any = route("any", "[]", &rules);
    let any = any.replace("{name: front}", "{name: front, sectionName: any}");
    stage.lab.apply("any", &any)?;
    let all = |version: &str| {
        format!(
            "  - matches: [{{path: {{value: /echo}}}}]\n{}",
            backends(version)
        )
    };
    let shop = all("{name: reviews-v3, port: 9080}");
    stage
        .lab
        .apply("shop", &route("shop", "['a.shop.example']", &shop))?;
    let elsewhere = route("elsewhere", "['b.other.example']", &shop);
    let elsewhere = elsewhere.replace("{name: front}", "{name: front, sectionName: shop}");
    stage.lab.apply("elsewhere", &elsewhere)?;
    let door = format!("http://{}:8080", open(stage).await?);
    answers(stage, &[], &format!("{door}/echo"), 200).await?;
    let host = ["-H", "host: a.shop.example"];
    answers(stage, &host, &format!("{door}/echo"), 200).await?;
    Ok(door)
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_headers_and_weights_choose_and_a_policy_of_the_gateway_knows_only_the_address()
-> Result<()> {
    let Some(stage) = Stage::without_waypoint("ingressroutes").await? else {
        return Ok(());
    };
    let door = set_up(&stage).await?;
    let echo = format!("{door}/echo");
    let many = ["-n", "200", "-c", "4", "--count-header", VERSION];
    for (header, version) in [
        ("x-none: 1", "v1"),
        ("x-version: two", "v2"),
        ("host: a.shop.example", "v3"),
        ("host: A.Shop.Example:8080", "v3"),
        ("host: somebody.example", "v1"),
    ] {
        let args = [&many[..], &["-H", header]].concat();
        let answer = ask(&stage, &args, &echo).await?;
        ensure!(
            answer.ok() == 200 && answer.header(VERSION, version) == 200,
            "{header}: {answer:?}"
        );
    }
    let split = ask(&stage, &many, &format!("{door}/echo/split")).await?;
    let (v1, v3) = (split.header(VERSION, "v1"), split.header(VERSION, "v3"));
    // Mean 100, standard deviation 7.1: four of them. Weight 0 takes nothing.
    ensure!(v1 + v3 == 200 && (71..=129).contains(&v1), "{split:?}");
    // The listener of the narrower host has no such route, and falls to no other.
    let unknown = ["-H", "host: b.shop.example"];
    answers(&stage, &unknown, &echo, 404).await?;
    answers(&stage, &[], &format!("{door}/echo/lost"), 500).await?;
    let words = ["reason: BackendNotFound", "nobody does not exist"];
    stage.status_has("HTTPRoute", "any", &words).await?;
    let words = ["reason: NoMatchingListenerHostname"];
    stage.status_has("HTTPRoute", "elsewhere", &words).await?;

    what_the_server_sees(&stage, &echo).await?;
    a_policy(&stage, &echo).await?;
    stage.lab.down().await;
    Ok(())
}

async fn what_the_server_sees(stage: &Stage, echo: &str) -> Result<()> {
    let forged = [
        "-H",
        "x-forwarded-for: 192.0.2.1",
        "-H",
        "x-forwarded-proto: https",
        "-H",
        "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/bookinfo/sa/client",
        "-H",
        "x-envoy-external-address: 192.0.2.1",
    ];
    let seen = ask(stage, &forged, echo).await?;
    let body: serde_json::Value = serde_json::from_str(seen.body.as_deref().unwrap_or_default())?;
    let headers = &body["headers"];
    let client = stage.lab.pod_address("outside", "outsider");
    let client = client.context("no address")?;
    let chain = format!("192.0.2.1,{client}");
    ensure!(headers["x-forwarded-for"] == chain.as_str(), "{body}");
    ensure!(headers["x-forwarded-proto"] == "http", "{body}");
    ensure!(headers["x-forwarded-client-cert"].is_null(), "{body}");
    ensure!(headers["x-envoy-external-address"].is_null(), "{body}");
    ensure!(headers["x-request-id"].is_string(), "{body}");
    Ok(())
}

/// Nobody from outside has a principal; addresses they have.
async fn a_policy(stage: &Stage, echo: &str) -> Result<()> {
    let policy = |rule: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: front, namespace: {BOOKINFO}}}\nspec:\n  \
             targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: front}}]\n  \
             action: ALLOW\n  rules: [{rule}]\n"
        )
    };
    stage
        .lab
        .apply("policy", &policy("{from: [{source: {principals: ['*']}}]}"))?;
    answers(stage, &[], echo, 403).await?;
    let denied = ask(stage, &[], echo).await?;
    let body = denied.body.unwrap_or_default();
    ensure!(body == "RBAC: access denied", "{body}");
    let client = stage.lab.pod_address("outside", "outsider");
    let client = client.context("no address")?;
    let rule = format!(
        "{{from: [{{source: {{ipBlocks: ['{client}']}}}}], to: [{{operation: {{paths: ['/echo']}}}}]}}"
    );
    stage.lab.apply("policy", &policy(&rule))?;
    answers(stage, &[], echo, 200).await?;
    answers(stage, &[], &format!("{echo}/split"), 403).await?;
    stage.lab.remove("policy")?;
    answers(stage, &[], &format!("{echo}/split"), 200).await?;
    Ok(())
}
