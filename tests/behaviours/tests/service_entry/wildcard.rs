//! Hosts below a wildcard, resolved by a waypoint request by request.

use crate::place::{counted, entry, gives, http, place, says, tcp};
use crate::waypoint::WAYPOINT;
use ambit_behaviours::town::{SOON, Town};
use ambit_harness::until;
use anyhow::{Result, ensure};

/// The pod `web` as the cluster's DNS calls it. The mesh does not know this name.
const WEB: &str = "http://web-0.web.outside.svc.cluster.local";
/// Nobody has this name.
const NOBODY: &str = "http://nobody.example.svc.cluster.local";
const WILD: &str = "*.svc.cluster.local";

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: wild, namespace: town}
spec:
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: wild}]
  action: DENY
  rules: [{to: [{operation: {paths: [/details/7]}}]}]
";
const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: town}
spec:
  hosts: ['*.svc.cluster.local']
  http:
  - match: [{uri: {exact: /told}}]
    directResponse: {status: 299, body: {string: told}}
  - match: [{uri: {exact: /details/9}}]
    rewrite: {authority: elsewhere.example.com}
    route: [{destination: {host: '*.svc.cluster.local', port: {number: 80}}}]
  - route: [{destination: {host: '*.svc.cluster.local', port: {number: 80}}}]
";

fn wild() -> String {
    let spec = format!(
        "{{hosts: ['{WILD}'], location: MESH_EXTERNAL, resolution: DYNAMIC_DNS,
          ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 9080}},
                  {{number: 443, name: tls, protocol: TLS}}]}}"
    );
    entry("wild", "istio.io/use-waypoint: waypoint", &spec)
}

/// One request of the client with another Host than the name it connects to: status and body.
async fn asks(town: &Town, url: &str, host: &str) -> Result<(u16, String)> {
    let header = format!("host: {host}");
    let answer = http(town, &["-H", &header, url]).await?;
    let status = answer.statuses.keys().next().copied().unwrap_or(0);
    Ok((status, answer.body.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_takes_requests_to_names_below_a_wildcard_and_goes_where_they_lead() -> Result<()>
{
    let Some(town) = place().await? else {
        return Ok(());
    };
    let status = ("serviceentries", "wild");
    let url = format!("{WEB}/details/0");
    town.lab.apply("wild", &wild())?;
    says(
        &town,
        status,
        &["NoWaypointForWildcardService", "240.240.", "port 443"],
    )
    .await?;
    until("nobody serves it without a waypoint", SOON, || async {
        match http(&town, &[&url]).await {
            Ok(answer) if answer.statuses.is_empty() && answer.errors.len() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    town.lab.apply("waypoint", WAYPOINT)?;
    says(&town, status, &["WaypointAccepted"]).await?;
    gives(&town, &url, 200).await?;
    let many = http(&town, &["-n", "20", &url]).await?;
    ensure!(many.ok() == 20, "{many:?}");
    let served = [("reporter", "waypoint"), ("destination_service", WILD)];
    until("all counted by the waypoint", SOON, || async {
        match counted(&town, "istio_requests_total", &served).await {
            Ok(count) if count >= 21.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let resolved = [("result", "resolved")];
    ensure!(counted(&town, "ambit_dynamic_dns_lookups_total", &resolved).await? >= 1.0);

    // The Host decides, whatever name was connected to and whatever port it names.
    let nobody = format!("{NOBODY}/details/0");
    for (host, expected) in [
        ("web-0.web.outside.svc.cluster.local", 200),
        ("web-0.web.outside.svc.cluster.local:1", 200),
        ("WEB-0.web.outside.svc.cluster.LOCAL", 200),
        ("web.example.com", 404),
        ("svc.cluster.local", 404),
        ("10.96.2.7", 404),
        ("nobody.example.svc.cluster.local", 503),
    ] {
        let (status, body) = asks(&town, &nobody, host).await?;
        ensure!(status == expected, "{host}: {status} {body}");
        ensure!(status != 503 || body == "DNS resolution failure", "{body}");
    }

    // What the client reaches only as itself, or not at all, is not reached as the waypoint either.
    for (host, reason) in [
        ("echo.town.svc.cluster.local", "mesh"),
        ("waypoint.town.svc.cluster.local", "own"),
    ] {
        let (status, body) = asks(&town, &nobody, host).await?;
        ensure!(
            status == 503 && body.contains("not served"),
            "{host}: {status} {body}"
        );
        let labels = [("reason", reason)];
        let refused = counted(&town, "ambit_dynamic_dns_refused_total", &labels).await?;
        ensure!(refused == 1.0, "{host}: {refused}");
    }
    let tls = tcp(&town, "web-0.web.outside.svc.cluster.local:443").await?;
    ensure!(tls.completed == 0, "{tls:?}");

    town.lab.apply("policy", POLICY)?;
    gives(&town, &format!("{WEB}/details/7"), 403).await?;
    town.lab.apply("rules", RULES)?;
    gives(&town, &format!("{WEB}/told"), 299).await?;
    gives(&town, &format!("{WEB}/details/9"), 200).await?;
    gives(&town, &url, 200).await?;
    let (status, _) = asks(&town, &format!("{NOBODY}/told"), "web.example.com").await?;
    ensure!(status == 404, "{status}");
    town.lab.down().await;
    Ok(())
}
