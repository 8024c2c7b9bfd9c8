//! Who called, as applications behind a waypoint are told: never what the caller says of itself.

use super::marked;
use super::stage::{REVIEWS, SOON, Stage};
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const GATEWAY: &str = "reviews-waypoint";
const ANNOTATION: &str = "ambient.istio.io/xfcc-include-client-identity";
/// What is true.
const TRUE: &str = "By=spiffe://cluster.local/ns/bookinfo/sa/reviews-waypoint;\
    URI=spiffe://cluster.local/ns/bookinfo/sa/client";
const FORGED: &str =
    "x-forwarded-client-cert: By=spiffe://a;URI=spiffe://cluster.local/ns/bookinfo/sa/admin";

/// What the application was told with these headers in the request.
async fn told(stage: &Stage, headers: &[&str]) -> Result<Value> {
    let url = format!("{REVIEWS}/echo");
    let sent = headers.iter().flat_map(|header| ["-H", *header]);
    let args: Vec<&str> = sent.chain([&*url]).collect();
    let answer = stage.client(&args).await?;
    let body = answer.body.context("no body")?;
    let body: Value = serde_json::from_str(&body).context(body)?;
    Ok(body["headers"]["x-forwarded-client-cert"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_are_told_who_called_or_nothing_and_never_what_the_caller_says() -> Result<()>
{
    let Some(stage) = Stage::up("identity").await? else {
        return Ok(());
    };
    stage.rules("before", &marked("v2")).await?;
    let sent = [
        &[][..],
        &[FORGED],
        &[FORGED, "connection: x-forwarded-client-cert"],
    ];
    for headers in sent {
        let seen = told(&stage, headers).await?;
        ensure!(seen == TRUE, "{headers:?} {seen}");
    }
    let annotated = |word: &str| {
        format!("  name: reviews-waypoint\n  annotations: {{{ANNOTATION}: '{word}'}}\n")
    };
    let plain = "  name: reviews-waypoint\n";
    stage.lab.edit(GATEWAY, plain, &annotated("false"))?;
    until("applications are told nothing", SOON, || async {
        match told(&stage, &[FORGED]).await {
            Ok(Value::Null) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    for headers in sent {
        let seen = told(&stage, headers).await?;
        ensure!(seen.is_null(), "{headers:?} {seen}");
    }
    stage
        .lab
        .edit(GATEWAY, &annotated("false"), &annotated("true"))?;
    until("applications are told again", SOON, || async {
        match told(&stage, &[FORGED]).await {
            Ok(seen) if seen == TRUE => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}
