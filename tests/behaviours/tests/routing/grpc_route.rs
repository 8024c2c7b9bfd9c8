//! A GRPCRoute attached to the Service reviews, beside an HTTPRoute.
//! Calls are made as requests to `/<service>/<method>`; which version answers says which rule took them.

use crate::http_route::versions;
use crate::stage::{REVIEWS, SOON, Stage, VERSION};
use ambit_harness::until;
use anyhow::{Result, ensure};

const ROUTES: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pages, namespace: bookinfo}
spec:
  parentRefs: [{group: '', kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /reviews}}]
    backendRefs: [{name: reviews-v3, port: 9080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: bookinfo}
spec:
  parentRefs: [{group: '', kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{method: {service: shop.Reviews}}]
    backendRefs: [{name: reviews-v1, port: 9080}]
  - matches: [{method: {service: shop.Reviews, method: List}}, {method: {method: Watch}, headers: [{name: x-user, value: tester}]}]
    backendRefs: [{name: reviews-v2, port: 9080}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_route_takes_calls_by_service_and_method_and_leaves_the_rest_to_http_routes()
-> Result<()> {
    let Some(stage) = Stage::up("grpcroute").await? else {
        return Ok(());
    };
    stage.lab.apply("reviews-versions", &versions())?;
    stage.lab.apply("grpc-route", ROUTES)?;
    let accepted = || async {
        let said = stage.conditions("GRPCRoute", "calls");
        match said.contains("ResolvedWaypoints") && !said.contains("False") {
            true => Ok(()),
            false => Err(said),
        }
    };
    until("the status of the GRPCRoute", SOON, accepted).await?;
    let ask = async |header: &str, path: &str| {
        let url = format!("{REVIEWS}{path}");
        let call = ["-X", "POST", "-H", "content-type: application/grpc"];
        let count = ["-H", header, "-n", "10", "--count-header", VERSION];
        let count = [&count[..], &["--count-header", "grpc-status", &url]].concat();
        stage.client(&[&call[..], &count].concat()).await
    };
    until("its first effect", SOON, || async {
        let answers = ask("x-user: any", "/shop.Reviews/List").await;
        match answers {
            Ok(answers) if answers.header(VERSION, "v2") == 10 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    for (header, path, version) in [
        ("x-user: any", "/shop.Reviews/List", "v2"),
        ("x-user: any", "/shop.Reviews/Add", "v1"),
        ("x-user: tester", "/other.Service/Watch", "v2"),
        ("x-user: any", "/reviews/0", "v3"),
    ] {
        let answers = ask(header, path).await?;
        ensure!(
            answers.header(VERSION, version) == 10,
            "{header} {path}: {answers:?}"
        );
    }
    for path in ["/other.Service/Watch", "/shop.ReviewsOfMine/List"] {
        let nobody = ask("x-user: any", path).await?;
        // UNIMPLEMENTED, as gRPC says it.
        ensure!(
            nobody.header("grpc-status", "12") == 10,
            "{path}: {nobody:?}"
        );
    }
    stage.lab.down().await;
    Ok(())
}
