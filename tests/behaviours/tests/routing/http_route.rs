//! HTTPRoutes attached to the Service reviews.

use crate::stage::{REVIEWS, SOON, Stage, VERSION, all_to};
use ambit_harness::client::HttpSummary;
use ambit_harness::until;
use anyhow::{Result, ensure};

/// A Service for each version of reviews, as Gateway API has no subsets.
pub(crate) fn versions() -> String {
    let one = |n: u8| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: reviews-v{n}, namespace: bookinfo}}\n\
             spec:\n  clusterIP: 10.96.1.2{n}\n  selector: {{app: reviews, version: v{n}}}\n  \
             ports: [{{name: http, port: 9080, targetPort: 9080}}]\n---\n"
        )
    };
    (1..=3).map(one).collect()
}

/// A route with `rules`, every answer of which has the header `x-rules: <mark>`.
fn route(mark: &str, rules: &str) -> String {
    let marked = rules.replace(
        "FILTERS",
        &format!("{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-rules, value: {mark}}}]}}}}"),
    );
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: reviews, namespace: bookinfo}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: reviews, port: 9080}}]\n  rules:\n{marked}"
    )
}

async fn ask(stage: &Stage, n: u64, args: &[&str], path: &str) -> Result<HttpSummary> {
    let (n, url) = (n.to_string(), format!("{REVIEWS}{path}"));
    let mut all = vec![
        "-n",
        &n,
        "--count-header",
        VERSION,
        "--count-header",
        "x-rules",
    ];
    all.extend(args);
    all.push(&url);
    stage.client(&all).await
}

/// Applies a route and waits for the first answer that has its mark.
async fn apply(stage: &Stage, mark: &str, rules: &str, path: &str) -> Result<()> {
    stage.lab.apply("http-route", &route(mark, rules))?;
    until(&format!("HTTPRoute {mark}"), SOON, || async {
        match ask(stage, 1, &[], path).await {
            Ok(answer) if answer.header("x-rules", mark) == 1 => Ok(()),
            other => Err(format!(
                "{other:?} {}",
                stage.conditions("HTTPRoute", "reviews")
            )),
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_route_on_the_service_matches_by_specificity_splits_and_filters() -> Result<()> {
    let Some(stage) = Stage::up("httproute").await? else {
        return Ok(());
    };
    stage.lab.apply("reviews-versions", &versions())?;
    let rules = "    - matches: [{path: {type: PathPrefix, value: /echo}}]\n      filters: [FILTERS]\n      \
                 backendRefs: [{name: reviews-v1, port: 9080}]\n    \
                 - matches: [{path: {type: Exact, value: /echo/x}}, {headers: [{name: x-a, value: one}], path: {type: PathPrefix, value: /echo}}]\n      \
                 filters: [FILTERS, {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: new}], add: [{name: x-add, value: more}], remove: [x-gone]}}]\n      \
                 backendRefs: [{name: reviews-v2, port: 9080}]\n    \
                 - matches: [{path: {type: PathPrefix, value: /echo/}, queryParams: [{name: q, value: '1'}], method: PUT}]\n      \
                 filters: [{type: URLRewrite, urlRewrite: {hostname: elsewhere.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /echo/new}}}]\n      \
                 backendRefs: [{name: reviews-v3, port: 9080}]\n    \
                 - matches: [{path: {type: Exact, value: /echo/late}}]\n      timeouts: {request: 300ms}\n      \
                 backendRefs: [{name: reviews-v1, port: 9080}]\n    \
                 - matches: [{path: {type: PathPrefix, value: /away}}]\n      \
                 filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.example, statusCode: 302}}]\n";
    apply(&stage, "first", rules, "/echo").await?;
    for (args, path, version) in [
        (&[][..], "/echo/a", "v1"),
        (&[], "/echo/x", "v2"),
        (&["-H", "x-a: one"], "/echo/a", "v2"),
        (&["-X", "PUT"], "/echo/a?q=1", "v3"),
        (&["-X", "PUT"], "/echo/a?q=2", "v1"),
    ] {
        let answers = ask(&stage, 10, args, path).await?;
        ensure!(
            answers.header(VERSION, version) == 10,
            "{args:?} {path}: {answers:?}"
        );
    }
    let segment = ask(&stage, 5, &[], "/echoes").await?;
    ensure!(segment.statuses.get(&404) == Some(&5), "{segment:?}");
    let args = ["-H", "x-set: old", "-H", "x-add: first", "-H", "x-gone: 1"];
    let seen = ask(&stage, 1, &args, "/echo/x").await?;
    let echo: serde_json::Value = serde_json::from_str(seen.body.as_deref().unwrap_or_default())?;
    ensure!(echo["headers"]["x-set"] == "new", "{echo}");
    ensure!(echo["headers"]["x-add"] == "first,more", "{echo}");
    ensure!(echo["headers"]["x-gone"].is_null(), "{echo}");
    let moved = ask(&stage, 1, &["-X", "PUT"], "/echo/a?q=1").await?;
    let echo: serde_json::Value = serde_json::from_str(moved.body.as_deref().unwrap_or_default())?;
    ensure!(echo["path"] == "/echo/new/a?q=1", "{echo}");
    ensure!(echo["headers"]["host"] == "elsewhere.example", "{echo}");
    let late = ask(&stage, 1, &[], "/echo/late?ms=20000").await?;
    ensure!(late.statuses.get(&504) == Some(&1), "{late:?}");
    let away = ask(&stage, 1, &["--count-header", "location"], "/away?x=1").await?;
    // The port of the listener stays where neither port nor scheme is given.
    let location = "http://elsewhere.example:9080/away?x=1";
    ensure!(
        away.statuses.get(&302) == Some(&1) && away.header("location", location) == 1,
        "{away:?}"
    );
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_route_weights_and_an_invalid_backend_are_answered_as_gateway_api_says() -> Result<()>
{
    let Some(stage) = Stage::up("weights").await? else {
        return Ok(());
    };
    stage.lab.apply("reviews-versions", &versions())?;
    let rules = "    - filters: [FILTERS]\n      backendRefs: \
                 [{name: reviews-v1, port: 9080, weight: 1}, {name: reviews-v2, port: 9080, weight: 0}, \
                 {name: reviews-v3, port: 9080, weight: 3}]\n";
    apply(&stage, "split", rules, "/echo").await?;
    let answers = ask(&stage, 400, &["-c", "4"], "/echo").await?;
    let (v1, v3) = (answers.header(VERSION, "v1"), answers.header(VERSION, "v3"));
    // Mean 100, standard deviation 8.7: four of them.
    ensure!(v1 + v3 == 400 && (66..=134).contains(&v1), "{answers:?}");
    let rules = "    - matches: [{path: {value: /echo/none}}]\n      \
                 backendRefs: [{name: nobody, port: 9080}]\n    \
                 - filters: [FILTERS]\n      backendRefs: [{name: reviews-v2, port: 9080}]\n";
    apply(&stage, "invalid", rules, "/echo").await?;
    let none = ask(&stage, 5, &[], "/echo/none").await?;
    ensure!(none.statuses.get(&500) == Some(&5), "{none:?}");
    let words = [
        "BackendNotFound",
        "spec.rules[0].backendRefs[0]",
        "ResolvedWaypoints",
    ];
    stage.status_has("HTTPRoute", "reviews", &words).await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_route_runs_instead_of_a_virtual_service_whose_status_says_so() -> Result<()> {
    let Some(stage) = Stage::up("precedence").await? else {
        return Ok(());
    };
    stage.rules("alone", &all_to("v1")).await?;
    stage.lab.apply("reviews-versions", &versions())?;
    let rules = "    - filters: [FILTERS]\n      backendRefs: [{name: reviews-v3, port: 9080}]\n";
    apply(&stage, "wins", rules, "/echo").await?;
    let answers = ask(&stage, 20, &[], "/echo").await?;
    ensure!(answers.header(VERSION, "v3") == 20, "{answers:?}");
    let words = [
        "ambit.io/Bound",
        "Conflicted",
        "HTTPRoute bookinfo/reviews is attached",
    ];
    stage
        .status_has("VirtualService", "reviews", &words)
        .await?;
    stage.lab.remove("http-route")?;
    stage.in_force("alone").await?;
    let answers = ask(&stage, 20, &[], "/echo").await?;
    ensure!(answers.header(VERSION, "v1") == 20, "{answers:?}");
    stage
        .status_has(
            "VirtualService",
            "reviews",
            &["runs at the waypoint of its hosts"],
        )
        .await?;
    stage.no_rules()?;
    until("no rule left", SOON, || async {
        match ask(&stage, 60, &["-c", "4"], "/echo").await {
            Ok(a)
                if a.ok() == 60 && ["v1", "v2", "v3"].iter().all(|v| a.header(VERSION, v) > 0) =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}
