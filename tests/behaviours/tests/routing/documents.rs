//! Documents that do not work as written: their status says which field and why.

use crate::stage::{REVIEWS, Stage, VERSION, all_to, virtual_service};
use anyhow::{Result, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_names_its_field_and_the_last_good_version_stays() -> Result<()> {
    let Some(stage) = Stage::up("refused").await? else {
        return Ok(());
    };
    stage.rules("good", &all_to("v2")).await?;
    let bound = ["ambit.io/Bound", "runs at the waypoint of its hosts"];
    stage
        .status_has("VirtualService", "reviews", &bound)
        .await?;
    let cors = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                metadata: {name: reviews, namespace: bookinfo}\nspec:\n  hosts: [reviews]\n  http:\n    \
                - corsPolicy: {allowMethods: [GET]}\n      \
                route: [{destination: {host: reviews, subset: v3}}]\n";
    stage.rules_document(cors)?;
    let refused = ["ambit.io/Accepted", "spec.http[0].corsPolicy"];
    stage
        .status_has("VirtualService", "reviews", &refused)
        .await?;
    stays(&stage, "v2").await?;
    // Cut off in the middle, as an editor that writes in place may leave it.
    let cut = virtual_service("cut", &all_to("v3"));
    stage.rules_document(&cut[..cut.len() / 2])?;
    stays(&stage, "v2").await?;
    // Right again.
    stage.rules("right", &all_to("v3")).await?;
    stays(&stage, "v3").await?;
    stage
        .status_has("VirtualService", "reviews", &["ambit.io/Accepted", "valid"])
        .await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn references_to_nothing_are_in_the_status_and_heal() -> Result<()> {
    let Some(stage) = Stage::up("references").await? else {
        return Ok(());
    };
    let http = format!(
        "    - match: [{{uri: {{prefix: /echo/a}}}}]\n      \
         route: [{{destination: {{host: nobody}}}}]\n{}",
        all_to("v9")
    );
    stage.rules("nowhere", &http).await?;
    let words = [
        "ReferenceNotFound",
        "spec.http[1].route[0].destination.host: service `nobody` does not exist",
        "spec.http[2].route[0].destination.subset: no DestinationRule",
        "defines subset `v9`",
    ];
    stage
        .status_has("VirtualService", "reviews", &words)
        .await?;
    let answers = stage
        .client(&["-n", "5", &format!("{REVIEWS}/echo/b")])
        .await?;
    ensure!(answers.statuses.get(&503) == Some(&5), "{answers:?}");
    // The subset appears, by another label than its name.
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                metadata: {name: reviews, namespace: bookinfo}\nspec:\n  host: reviews\n  \
                subsets: [{name: v9, labels: {version: v1}}]\n";
    stage.lab.apply("destination-rule-reviews", rule)?;
    ambit_harness::until("the subset", crate::stage::SOON, || async {
        let answer = stage
            .client(&["--count-header", VERSION, &format!("{REVIEWS}/echo/b")])
            .await;
        match answer {
            Ok(answer) if answer.header(VERSION, "v1") == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stays(&stage, "v1").await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_virtual_services_follow_each_other_by_age_then_name() -> Result<()> {
    let Some(stage) = Stage::up("several").await? else {
        return Ok(());
    };
    stage.rules("middle", &all_to("v2")).await?;
    let other = |name: &str, meta: &str, version: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: {name}, namespace: bookinfo{meta}}}\nspec:\n  \
             hosts: [reviews.bookinfo.svc.cluster.local]\n  http:\n    \
             - match: [{{uri: {{exact: /case/{name}}}}}]\n      \
             directResponse: {{status: 200, body: {{string: {name}}}}}\n    \
             - match: [{{uri: {{prefix: /echo/b}}}}]\n      \
             route: [{{destination: {{host: reviews, subset: {version}}}}}]\n"
        )
    };
    // After one that takes everything: never reached.
    stage.lab.apply("later", &other("z-later", "", "v1"))?;
    stage
        .status_has("VirtualService", "z-later", &["ambit.io/Bound"])
        .await?;
    stays(&stage, "v2").await?;
    // Before it, by name.
    stage.lab.apply("earlier", &other("a-earlier", "", "v3"))?;
    stage.in_force("a-earlier").await?;
    stays(&stage, "v3").await?;
    // Before both, by age.
    let old = ", creationTimestamp: '2020-01-01T00:00:00Z'";
    stage.lab.apply("later", &other("z-later", old, "v1"))?;
    stage.in_force("z-later").await?;
    stays(&stage, "v1").await?;
    stage.lab.down().await;
    Ok(())
}

/// Ten requests in a row are answered by `version`.
async fn stays(stage: &Stage, version: &str) -> Result<()> {
    let url = format!("{REVIEWS}/echo/b");
    let answers = stage
        .client(&["-n", "10", "--count-header", VERSION, &url])
        .await?;
    ensure!(
        answers.header(VERSION, version) == 10,
        "{version}: {answers:?}"
    );
    Ok(())
}
