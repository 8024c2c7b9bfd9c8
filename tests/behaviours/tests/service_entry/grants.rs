//! Backends of other namespaces, while a ReferenceGrant lets a route refer to them.

use crate::place::{gives, place, says};
use crate::waypoint::{WAYPOINT, bound, web};
use anyhow::Result;

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: town}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: web}]
  rules:
  - matches: [{path: {value: /details}}]
    backendRefs: [{name: front, namespace: outside, port: 9080}]
  - backendRefs: [{group: networking.istio.io, kind: Hostname, name: web.example.com, port: 80}]
";
const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: routes, namespace: outside}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: town}]
  to: [{group: '', kind: Service, name: front}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_another_namespace_is_500_until_a_grant_and_again_after_it() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    town.lab.apply("waypoint", WAYPOINT)?;
    town.lab.apply("web", &web())?;
    bound(&town).await?;
    town.lab.apply("route", ROUTE)?;
    let (details, health) = (
        "http://web.example.com/details/0",
        "http://web.example.com/health",
    );
    gives(&town, details, 500).await?;
    gives(&town, health, 200).await?;
    says(&town, ("httproutes", "web"), &["RefNotPermitted"]).await?;
    town.lab.apply("grant", GRANT)?;
    gives(&town, details, 200).await?;
    says(&town, ("httproutes", "web"), &["All references resolved"]).await?;
    town.lab.remove("grant")?;
    gives(&town, details, 500).await?;
    says(&town, ("httproutes", "web"), &["RefNotPermitted"]).await?;
    town.lab.down().await;
    Ok(())
}

/// The Service in place of the one of the town's documents.
fn front(export_to: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: shown, namespace: outside, \
         annotations: {{networking.istio.io/exportTo: '{export_to}'}}}}\n\
         spec: {{clusterIP: 10.96.2.8, selector: {{app: web}}, ports: [{{name: http, port: 9080}}]}}\n"
    )
}

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: town}
spec:
  hosts: [web.example.com]
  http:
  - match: [{uri: {prefix: /details}}]
    route: [{destination: {host: shown.outside.svc.cluster.local, port: {number: 9080}}}]
  - route: [{destination: {host: web.example.com}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn rules_lead_to_a_service_from_the_namespaces_that_it_is_exported_to() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    town.lab.apply("waypoint", WAYPOINT)?;
    town.lab.apply("web", &web())?;
    town.lab.apply("shown", &front("town, elsewhere"))?;
    bound(&town).await?;
    town.lab.apply("rules", RULES)?;
    let details = "http://web.example.com/details/0";
    let virtual_service = ("virtualservices", "web");
    says(&town, virtual_service, &["runs at the waypoint"]).await?;
    gives(&town, details, 200).await?;
    // Only its own namespace sees it now: as if it were not there.
    town.lab.apply("shown", &front("."))?;
    gives(&town, details, 503).await?;
    let missing = [
        "ReferenceNotFound",
        "spec.http[0].route[0].destination.host: service `shown.outside.svc.cluster.local`",
    ];
    says(&town, virtual_service, &missing).await?;
    gives(&town, "http://web.example.com/health", 200).await?;
    town.lab.apply("shown", &front("*"))?;
    gives(&town, details, 200).await?;
    town.lab.down().await;
    Ok(())
}
