use crate::bench::{Bench, MESH, file, names, until};
use ambit_api::type_urls::ADDRESS;

#[tokio::test]
async fn a_bad_document_gets_a_status_and_the_good_ones_apply() {
    let bad = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken, namespace: default}
spec: {hosts: [web], http: [{fault: {delay: {fixedDelay: soon}}, route: [{destination: {host: web}}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: beside, namespace: default}
spec: {clusterIP: 10.96.0.30, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: no-address, namespace: default}
spec: {ports: [{port: 80}]}
";
    let bench = Bench::start(&[("mesh.yaml", MESH), ("bad.yaml", bad)]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    ads.subscribe(ADDRESS).await;
    let first = ads.next().await.unwrap();
    let names = names(&first);
    assert!(
        names.contains(&"default/beside.default.svc.cluster.local"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"default/no-address.default.svc.cluster.local"),
        "{names:?}"
    );
    let status = bench.source().join(".status/controller");
    let text = file(
        &status.join("virtualservices/default/broken.yaml"),
        "ambit.io/Accepted",
    )
    .await;
    assert!(
        text.contains("spec.http[0].fault.delay.fixedDelay") && text.contains("IST0106"),
        "{text}"
    );
    let text = file(
        &status.join("services/default/no-address.yaml"),
        "spec.clusterIP",
    )
    .await;
    assert!(text.contains("InvalidClusterIP"), "{text}");
    let metrics = bench.get("/metrics").await;
    assert!(
        metrics.contains("galley_validation_failed_total{resource=\"VirtualService\"} 1"),
        "{metrics}"
    );
    // Mended.
    bench.put(
        "bad.yaml",
        &bad.replace("soon", "1s")
            .replace("spec: {ports", "spec: {clusterIP: 10.96.0.31, ports"),
    );
    let delta = ads.next().await.unwrap();
    assert_eq!(
        crate::bench::names(&delta),
        ["default/no-address.default.svc.cluster.local"]
    );
    until("the rejection is withdrawn", || {
        let path = status.join("services/default/no-address.yaml");
        (!path.exists()).then_some(())
    })
    .await;
    file(
        &status.join("virtualservices/default/broken.yaml"),
        "NoWaypoint",
    )
    .await;
}

#[tokio::test]
async fn a_document_that_breaks_keeps_its_last_good_version() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    ads.subscribe(ADDRESS).await;
    ads.next().await.unwrap();
    bench.put("mesh.yaml", "");
    bench.put("mesh.yaml", "{{{");
    bench.put(
        "after.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: after, namespace: default}, spec: {clusterIP: 10.96.0.40, ports: [{port: 80}]}}",
    );
    let delta = ads.next().await.unwrap();
    assert_eq!(names(&delta), ["default/after.default.svc.cluster.local"]);
    assert!(delta.removed_resources.is_empty());
}
