//! Who may ask what, by the waypoint of reviews.

#[allow(dead_code, reason = "the routing tests use the rest")]
#[path = "routing/stage.rs"]
mod stage;

use ambit_harness::client::HttpSummary;
use ambit_harness::demo::Scene;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use stage::{REVIEWS, SOON, Stage};

/// Envoy's words when ALLOW policies exist and none matched.
const NO_ALLOW: &str = "rbac_access_denied_matched_policy[none]";

/// Asks reviews from a pod: the status, and what was said.
async fn ask(stage: &Stage, pod: &str, args: &[&str], path: &str) -> Result<(u16, String)> {
    let url = format!("{REVIEWS}{path}");
    let args: Vec<&str> = args.iter().copied().chain([url.as_str()]).collect();
    let answer: HttpSummary = stage.lab.http(BOOKINFO, pod, &args).await?;
    let status = answer.statuses.keys().next().copied();
    let status = status.with_context(|| format!("no answer: {answer:?}"))?;
    Ok((status, answer.body.unwrap_or_default()))
}

/// Waits until the client's `path` is answered with `status`.
async fn client_gets(stage: &Stage, path: &str, status: u16) -> Result<()> {
    until(&format!("{path} gives {status}"), SOON, || async {
        match ask(stage, "client", &[], path).await {
            Ok((got, _)) if got == status => Ok(()),
            other => Err(format!(
                "{other:?}; {}",
                policy_status(stage, "reviews-viewer")
            )),
        }
    })
    .await?;
    Ok(())
}

fn policy_status(stage: &Stage, name: &str) -> String {
    let status = stage.lab.directory().join(".status/controller");
    let path = status.join(format!("authorizationpolicies/{BOOKINFO}/{name}.yaml"));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Its account is admitted, its method is not.
async fn productpage_only_reads(stage: &Stage) -> Result<()> {
    let page = "productpage-v1";
    ensure!(ask(stage, page, &[], "/reviews/0").await?.0 == 200);
    let post = ["-X", "POST", "-H", "x-request-id: by-page"];
    ensure!(ask(stage, page, &post, "/reviews/0").await?.0 == 403);
    stage
        .log_line(&[
            "denied by policy",
            "sa/bookinfo-productpage",
            "methods did not match",
        ])
        .await?;
    Ok(())
}

/// Headers do not make another of the client, and gRPC is told in its own way.
async fn nothing_said_counts(stage: &Stage) -> Result<()> {
    let forged =
        "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage";
    ensure!(ask(stage, "client", &["-H", forged], "/reviews/0").await?.0 == 403);
    let grpc = [
        "-X",
        "POST",
        "-H",
        "content-type: application/grpc",
        "--count-header",
        "grpc-status",
    ];
    let url = format!("{REVIEWS}/reviews.Reviews/Get");
    let args: Vec<&str> = grpc.into_iter().chain([url.as_str()]).collect();
    let answer = stage.client(&args).await?;
    ensure!(
        answer.ok() == 1 && answer.header("grpc-status", "7") == 1,
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_account_reads_reviews_and_every_refusal_names_policy_and_rule() -> Result<()> {
    let Some(stage) = Stage::up("authz").await? else {
        return Ok(());
    };
    let scene = Scene::new(&stage.lab);
    client_gets(&stage, "/reviews/0", 200).await?;
    scene.apply(&["policy/reviews-viewer.yaml"])?;
    client_gets(&stage, "/reviews/0", 403).await?;
    let status = policy_status(&stage, "reviews-viewer");
    ensure!(
        status.contains("attached to bookinfo/reviews-waypoint"),
        "{status}"
    );

    let (code, body) = ask(
        &stage,
        "client",
        &["-H", "x-request-id: by-client"],
        "/reviews/0",
    )
    .await?;
    ensure!(
        (code, &*body) == (403, "RBAC: access denied"),
        "{code} {body}"
    );
    let lines = stage.access_lines("by-client", 1).await?;
    ensure!(
        lines[0].code == 403 && lines[0].details == NO_ALLOW,
        "{lines:?}"
    );
    let line = stage
        .log_line(&[
            "denied by policy",
            "sa/client",
            "bookinfo/reviews-viewer rule 0",
        ])
        .await?;
    ensure!(line.contains("principals did not match"), "{line}");

    productpage_only_reads(&stage).await?;
    nothing_said_counts(&stage).await?;

    let denied = [
        ("response_code", "403"),
        (
            "source_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/client",
        ),
        ("destination_service_name", "reviews"),
    ];
    let counted = stage.metrics().await?.sum("istio_requests_total", &denied);
    ensure!(counted >= 2.0, "{counted}");

    stage.lab.remove("reviews-viewer")?;
    client_gets(&stage, "/reviews/0", 200).await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_denies_is_denied_for_all_it_serves_and_a_policy_on_trial_only_counts()
-> Result<()> {
    let Some(stage) = Stage::up("authzgw").await? else {
        return Ok(());
    };
    let scene = Scene::new(&stage.lab);
    scene.apply(&["policy/waypoint-no-admin.yaml"])?;
    client_gets(&stage, "/admin/x", 403).await?;
    let id = ["-H", "x-request-id: admin"];
    for path in ["/admin", "/reviews/../admin/x"] {
        ensure!(ask(&stage, "client", &id, path).await?.0 == 403, "{path}");
    }
    ensure!(ask(&stage, "client", &[], "/reviews/0").await?.0 == 200);
    let lines = stage.access_lines("admin", 2).await?;
    let details = "rbac_access_denied_matched_policy[ns[bookinfo]-policy[no-admin]-rule[0]]";
    ensure!(
        lines.iter().all(|l| l.code == 403 && l.details == details),
        "{lines:?}"
    );

    let trial = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {name: trial, namespace: bookinfo, annotations: {istio.io/dry-run: 'true'}}\n\
                 spec: {targetRefs: [{kind: Service, group: '', name: reviews}], action: DENY, rules: [{}]}\n";
    stage.lab.apply("trial", trial)?;
    let labels = [
        ("policy", "bookinfo/trial"),
        ("action", "DENY"),
        ("matched", "true"),
    ];
    until("the policy on trial counted", SOON, || async {
        let (code, _) = ask(&stage, "client", &[], "/reviews/0")
            .await
            .map_err(|e| e.to_string())?;
        let metrics = stage.metrics().await.map_err(|e| e.to_string())?;
        match metrics.sum("ambit_policies_on_trial_total", &labels) {
            counted if counted >= 1.0 && code == 200 => Ok(()),
            counted => Err(format!("{code}, counted {counted}")),
        }
    })
    .await?;
    stage
        .log_line(&["policy on trial", "bookinfo/trial"])
        .await?;
    stage.lab.down().await;
    Ok(())
}
