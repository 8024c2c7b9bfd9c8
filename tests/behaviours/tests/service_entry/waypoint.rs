//! Services of names behind a waypoint: routes, policies, endpoints that it resolves.

use crate::place::{entry, gives, http, place, says};
use ambit_behaviours::town::{SOON, Town};
use ambit_harness::until;
use anyhow::{Result, ensure};

/// A waypoint of the town.
pub(crate) const WAYPOINT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: town}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";
const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: town}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: web}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /details}}]
    backendRefs: [{group: networking.istio.io, kind: Hostname, name: web.example.com, port: 80}]
";
const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: town}
spec:
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: web}]
  action: DENY
  rules: [{to: [{operation: {paths: [/details/7]}}]}]
";
const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: town}
spec:
  hosts: [web.example.com]
  http:
  - match: [{uri: {exact: /told}}]
    directResponse: {status: 299, body: {string: told}}
  - route: [{destination: {host: web.example.com}}]
";

/// The entry of the web server outside, by its name, behind the waypoint.
pub(crate) fn web() -> String {
    entry(
        "web",
        "istio.io/use-waypoint: waypoint",
        "{hosts: [web.example.com], resolution: DNS,
          ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}],
          endpoints: [{address: web.outside.svc.cluster.local}]}",
    )
}

/// Waits until the waypoint serves the entry.
pub(crate) async fn bound(town: &Town) -> Result<()> {
    let status = ("serviceentries", "web");
    says(town, status, &["WaypointAccepted", "240.240."]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_resolves_routes_and_guards_a_service_of_a_name() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    town.lab.apply("waypoint", WAYPOINT)?;
    town.lab.apply("web", &web())?;
    bound(&town).await?;
    gives(&town, "http://web.example.com/details/0", 200).await?;
    // Without a route everything is passed on; the server knows no such path.
    gives(&town, "http://web.example.com/health", 200).await?;
    town.lab.apply("route", ROUTE)?;
    gives(&town, "http://web.example.com/health", 404).await?;
    gives(&town, "http://web.example.com/details/0", 200).await?;
    let route = ("httproutes", "web");
    says(
        &town,
        route,
        &[
            "ServiceEntry",
            "ResolvedWaypoints",
            "All references resolved",
        ],
    )
    .await?;
    town.lab.apply("policy", POLICY)?;
    gives(&town, "http://web.example.com/details/7", 403).await?;
    let answers = http(&town, &["-n", "20", "http://web.example.com/details/0"]).await?;
    ensure!(answers.ok() == 20, "{answers:?}");
    town.lab.remove("route")?;
    town.lab.apply("rules", RULES)?;
    gives(&town, "http://web.example.com/told", 299).await?;
    gives(&town, "http://web.example.com/details/0", 200).await?;

    // Once bound, a waypoint that goes is not bypassed.
    town.lab.remove("waypoint")?;
    says(&town, ("serviceentries", "web"), &["WaypointIsGone"]).await?;
    until("refused", SOON, || async {
        match http(&town, &["http://web.example.com/details/0"]).await {
            Ok(answer) if answer.statuses.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    town.lab.down().await;
    Ok(())
}
