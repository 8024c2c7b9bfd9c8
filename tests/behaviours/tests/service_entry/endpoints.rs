//! How endpoints are found: listed, by name, selected, or not at all.

use crate::place::{entry, gives, place, reaches, says, status, tcp};
use crate::waypoint::WAYPOINT;
use ambit_behaviours::town::{OUTSIDE, SOON, TOWN, Town};
use ambit_harness::lab::DaemonKind;
use ambit_harness::until;
use anyhow::{Result, ensure};

const OPENED: &str = "istio_tcp_connections_opened_total";

/// Connections that the client's proxy has opened for a service.
async fn opened(town: &Town, service: &str, security: &str) -> Result<f64> {
    let labels = [
        ("reporter", "source"),
        ("destination_service", service),
        ("connection_security_policy", security),
    ];
    town.counted(1, OPENED, &labels).await
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_endpoints_are_reached_by_the_name_with_a_given_or_an_allocated_address()
-> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    let plain = town.address(OUTSIDE, "plain")?;
    let endpoint = format!(
        "endpoints: [{{address: {}, ports: {{tcp: 9000}}}}]",
        plain.ip()
    );
    let ports = "ports: [{number: 7000, name: tcp, protocol: TCP}]";
    let given = entry(
        "given",
        "",
        &format!(
            "{{hosts: [given.example.com], addresses: [10.1.2.3], resolution: STATIC, {ports}, {endpoint}}}"
        ),
    );
    let auto = entry(
        "auto",
        "",
        &format!("{{hosts: [auto.example.com], resolution: STATIC, {ports}, {endpoint}}}"),
    );
    town.lab.apply("entries", &format!("{given}---\n{auto}"))?;
    for host in ["given", "auto"] {
        let name = format!("{host}.example.com");
        let summary = reaches(&town, &format!("{name}:7000"), "plain").await?;
        ensure!(summary.locals.keys().all(|at| *at == plain), "{summary:?}");
        ensure!(opened(&town, &name, "unknown").await? >= 1.0);
    }
    reaches(&town, "10.1.2.3:7000", "plain").await?;
    says(
        &town,
        ("serviceentries", "auto"),
        &["240.240.", "2001:2:", "auto.example.com", "Accepted"],
    )
    .await?;
    let before = status(&town, "serviceentries", "auto");
    ensure!(!status(&town, "serviceentries", "given").contains("240.240."));

    // A port the service does not have is refused, not passed on to whoever has it.
    let none = tcp(&town, "given.example.com:9000").await?;
    ensure!(none.completed == 0, "{none:?}");

    // A controller that begins anew allocates nothing anew.
    town.kill(DaemonKind::Controller).await?;
    town.start(DaemonKind::Controller).await?;
    let later = entry(
        "aaa",
        "",
        &format!("{{hosts: [later.example.com], resolution: STATIC, {ports}, {endpoint}}}"),
    );
    town.lab.apply("later", &later)?;
    reaches(&town, "later.example.com:7000", "plain").await?;
    ensure!(status(&town, "serviceentries", "auto") == before);
    reaches(&town, "auto.example.com:7000", "plain").await?;

    town.lab.remove("entries")?;
    until("the name is gone", SOON, || async {
        match tcp(&town, "auto.example.com:7000").await {
            Ok(s) if s.connected == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_endpoints_are_resolved_by_the_proxy() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    let named = entry(
        "named",
        "",
        "{hosts: [named.example.com], resolution: DNS, ports: [{number: 9000, name: tcp, protocol: TCP}],
          endpoints: [{address: plain.outside.svc.cluster.local}]}",
    );
    let wild = entry(
        "wild",
        "",
        "{hosts: ['*.wild.example.com'], addresses: [10.1.2.9], resolution: DNS,
          ports: [{number: 9000, name: tcp, protocol: TCP}],
          endpoints: [{address: plain.outside.svc.cluster.local}]}",
    );
    let nowhere = entry(
        "nowhere",
        "",
        "{hosts: [nowhere.example.com], resolution: DNS, ports: [{number: 9000, name: tcp, protocol: TCP}],
          endpoints: [{address: nobody.outside.svc.cluster.local}]}",
    );
    town.lab
        .apply("entries", &[named, wild, nowhere].join("---\n"))?;
    for host in ["named.example.com", "any.wild.example.com"] {
        reaches(&town, &format!("{host}:9000"), "plain").await?;
    }
    let resolved = [("hostname", "plain.outside.svc.cluster.local")];
    let count = town
        .counted(1, "istio_on_demand_dns_total", &resolved)
        .await?;
    ensure!(count >= 2.0, "{count}");
    ensure!(opened(&town, "*.wild.example.com", "unknown").await? >= 1.0);
    says(&town, ("serviceentries", "nowhere"), &["240.240."]).await?;
    let lost = tcp(&town, "nowhere.example.com:9000").await?;
    ensure!(lost.completed == 0, "{lost:?}");
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_pods_are_reached_by_hbone_and_workload_entries_as_they_are() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    let plain = town.address(OUTSIDE, "plain")?;
    let selects = |name: &str, app: &str| {
        let spec = format!(
            "{{hosts: [{name}.example.com], location: MESH_INTERNAL, resolution: STATIC,
              ports: [{{number: 7000, name: tcp, protocol: TCP, targetPort: 9000}}],
              workloadSelector: {{labels: {{app: {app}}}}}}}"
        );
        entry(name, "", &spec)
    };
    let vm = format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
         metadata: {{name: vm, namespace: {TOWN}}}\n\
         spec: {{address: {}, labels: {{app: vm}}, serviceAccount: vm}}\n",
        plain.ip()
    );
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: vm, namespace: {TOWN}}}\n\
         spec: {{clusterIP: 10.96.2.8, selector: {{app: vm}}, ports: [{{name: tcp, port: 7001, targetPort: 9000}}]}}\n"
    );
    let all = [selects("mesh", "echo"), selects("vms", "vm"), vm, service];
    town.lab.apply("entries", &all.join("---\n"))?;
    reaches(&town, "mesh.example.com:7000", "echo").await?;
    ensure!(opened(&town, "mesh.example.com", "mutual_tls").await? >= 1.0);
    reaches(&town, "vms.example.com:7000", "plain").await?;
    reaches(&town, "vm.town.svc.cluster.local:7001", "plain").await?;
    ensure!(opened(&town, "vms.example.com", "unknown").await? >= 1.0);
    town.lab.down().await;
    Ok(())
}

/// Agents answer here on every node; nobody in the mesh has a node's address.
const READY: &str = "readyz";

#[tokio::test(flavor = "multi_thread")]
async fn without_resolution_the_address_dialled_is_kept_also_through_a_waypoint() -> Result<()> {
    let Some(town) = place().await? else {
        return Ok(());
    };
    let ports = "ports: [{number: 8000, name: http, protocol: HTTP}]";
    let spec = format!(
        "{{hosts: [node.example.com], addresses: [10.244.0.2], resolution: NONE, {ports}}}"
    );
    let block = format!(
        "{{hosts: [lan.example.com], addresses: [10.244.0.0/31], resolution: NONE, {ports}}}"
    );
    let (node, lan) = (entry("node", "", &spec), entry("lan", "", &block));
    town.lab.apply("entries", &format!("{node}---\n{lan}"))?;
    let by_name = format!("http://node.example.com:8000/{READY}");
    let by_address = format!("http://10.244.0.1:8000/{READY}");
    gives(&town, &by_name, 200).await?;
    gives(&town, &by_address, 200).await?;
    for service in ["node.example.com", "lan.example.com"] {
        ensure!(opened(&town, service, "unknown").await? >= 1.0, "{service}");
    }
    let label = "istio.io/use-waypoint: waypoint";
    let (node, lan) = (entry("node", label, &spec), entry("lan", label, &block));
    town.lab.apply("waypoint", WAYPOINT)?;
    town.lab.apply("rules", RULES)?;
    town.lab.apply("entries", &format!("{node}---\n{lan}"))?;
    for (name, at) in [("node", "node.example.com"), ("lan", "10.244.0.1")] {
        says(&town, ("serviceentries", name), &["WaypointAccepted"]).await?;
        gives(&town, &format!("http://{at}:8000/told"), 299).await?;
        gives(&town, &format!("http://{at}:8000/{READY}"), 200).await?;
    }
    town.lab.down().await;
    Ok(())
}

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nodes, namespace: town}
spec:
  hosts: [node.example.com, lan.example.com]
  http:
  - match: [{uri: {exact: /told}}]
    directResponse: {status: 299, body: {string: told}}
  - match: [{authority: {prefix: node}}]
    route: [{destination: {host: node.example.com}}]
  - route: [{destination: {host: lan.example.com}}]
";
