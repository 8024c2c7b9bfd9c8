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
