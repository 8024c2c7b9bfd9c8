//! A waypoint that gets another name and another account under load: no request is lost or goes around it.

use super::stage::{SOON, Stage};
use super::{GATEWAY, THROUGH, ask, end, load, marked};
use ambit_harness::cluster::PodView;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::until;
use anyhow::{Result, ensure};

fn gateway(annotations: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: reviews-waypoint, namespace: bookinfo, labels: {{istio.io/waypoint-for: service}}, \
         annotations: {{{annotations}}}}}\n\
         spec:\n  gatewayClassName: istio-waypoint\n  \
         listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]\n"
    )
}

/// Ready pods of the gateway by the beginning of their names, with their accounts.
fn pods(stage: &Stage, name: &str) -> Vec<String> {
    let cluster = stage.lab.cluster();
    let ready = stage.lab.pods();
    let ours = cluster.pods.iter().filter(|((namespace, pod), _)| {
        let key = (namespace.clone(), pod.clone());
        namespace == BOOKINFO
            && pod.starts_with(&format!("{name}-"))
            && ready.get(&key).is_some_and(|entry| entry.state.ready)
    });
    ours.map(|(_, pod)| PodView(pod).service_account().to_owned())
        .collect()
}

/// Waits until one pod of `name` runs as `account` and none of `former` is there any more.
async fn runs(stage: &Stage, (name, account): (&str, &str), former: &str) -> Result<()> {
    until(&format!("{name} as {account}"), SOON, || async {
        let (now, before) = (pods(stage, name), pods(stage, former));
        match now.as_slice() {
            [found] if found == account && (former == name || before.is_empty()) => Ok(()),
            _ => Err(format!("{now:?} {before:?}")),
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_gets_another_name_and_account_and_loses_no_request() -> Result<()> {
    let Some(stage) = Stage::up("names").await? else {
        return Ok(());
    };
    stage.rules("before", &marked("v2")).await?;
    let load = load(&stage).await?;
    let named = "gateway.istio.io/name-override: edge, gateway.istio.io/service-account: runner";
    stage.lab.apply(GATEWAY, &gateway(named))?;
    runs(&stage, ("edge", "runner"), "reviews-waypoint").await?;
    until("nothing of the former name is left", SOON, || async {
        let cluster = stage.lab.cluster();
        let name = (BOOKINFO.to_owned(), "reviews-waypoint".to_owned());
        let (former, now) = (
            cluster.services.contains_key(&name),
            cluster
                .services
                .contains_key(&(BOOKINFO.to_owned(), "edge".to_owned())),
        );
        match (former, now) {
            (false, true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(THROUGH, "waypoint") == 20, "{answers:?}");

    let wrong = "gateway.istio.io/name-override: No_Name";
    stage.lab.apply(GATEWAY, &gateway(wrong))?;
    let words = [
        "InvalidParameters",
        "gateway.istio.io/name-override: `No_Name` must be",
    ];
    stage.status_has("Gateway", GATEWAY, &words).await?;
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(THROUGH, "waypoint") == 20, "{answers:?}");
    ensure!(pods(&stage, "edge") == ["runner"]);

    stage.lab.apply(GATEWAY, &gateway(""))?;
    runs(&stage, ("reviews-waypoint", "reviews-waypoint"), "edge").await?;
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(THROUGH, "waypoint") == 20, "{answers:?}");
    let answers = end(load).await?;
    let through = answers.header(THROUGH, "waypoint");
    ensure!(
        answers.errors.is_empty() && through > 0 && through == answers.ok(),
        "{answers:?}"
    );
    stage.lab.down().await;
    Ok(())
}
