//! The node proxy under Istio's own CNI agent: plain ZDS with one namespace per pod, redirection by
//! netfilter, `SO_ORIGINAL_DST`. Our agent of node 1 is gone; the test answers on its socket instead.

use ambit_api::zds::workload_request::Payload;
use ambit_api::zds::{
    AddWorkload, SnapshotSent, WorkloadInfo, WorkloadRequest, WorkloadResponse, ZdsHello,
    workload_response,
};
use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town};
use ambit_harness::lab::DaemonKind;
use ambit_harness::until;
use ambit_net::fd_passing::{SeqListener, SeqPacket};
use anyhow::{Context as _, Result, bail, ensure};
use prost::Message as _;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// A pod that our agent leaves alone, and that somebody else says is captured.
const LEGACY: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: legacy
  namespace: town
  uid: 11111111-2222-4333-8444-555555555555
  labels: {app: legacy, istio.io/dataplane-mode: none}
  annotations: {ambient.istio.io/redirection: enabled}
spec:
  serviceAccountName: client
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: echo
    image: ambit/bookinfo
    args: [tcp-serve]
    env: [{name: HOSTNAME, value: legacy}]
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
";

/// What Istio's agent writes into a pod (reference: its `ISTIO_PRERT` and `ISTIO_OUTPUT` chains).
const RULES: &str = "\
table ip upstream {
  chain mangle_prerouting {
    type filter hook prerouting priority mangle;
    meta mark & 0xfff == 0x539 ct mark set 0x111
  }
  chain mangle_output {
    type route hook output priority mangle;
    ct mark & 0xfff == 0x111 meta mark set ct mark
  }
  chain nat_prerouting {
    type nat hook prerouting priority dstnat;
    iifname != lo tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006
  }
  chain nat_output {
    type nat hook output priority -100;
    meta mark & 0xfff == 0x111 accept
    oifname lo ip daddr != 127.0.0.1 accept
    ip daddr != 127.0.0.1 meta l4proto tcp meta mark & 0xfff != 0x539 redirect to :15001
  }
}
";

/// Longest message of the protocol.
const LONGEST: usize = 4096;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_istios_agent_gets_mutual_tls_both_ways_and_keeps_addresses() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.lab.apply("legacy", LEGACY)?;
    town.lab.pods_ready(SOON).await?;
    let _agent = replace_agent(&town).await?;
    let (legacy, echo) = (town.address(TOWN, "legacy")?, town.address(TOWN, "echo")?);

    // Outbound: through the Service, by HBONE, with the pod's own address and identity.
    let principal = "spiffe://cluster.local/ns/town/sa/client";
    let mutual = |reporter| {
        [
            ("reporter", reporter),
            ("connection_security_policy", "mutual_tls"),
            ("source_workload", "legacy"),
            ("source_principal", principal),
        ]
    };
    until("legacy reaches echo by HBONE", SOON, || async {
        let summary = town.lab.tcp(TOWN, "legacy", ECHO, &["-n", "5"]).await;
        let opened = "istio_tcp_connections_opened_total";
        let sealed = town.counted(2, opened, &mutual("destination")).await;
        match (&summary, sealed) {
            (Ok(s), Ok(5.0..)) if s.completed == 5 => Ok(()),
            _ => Err(format!("{summary:?}")),
        }
    })
    .await?;
    let summary = town.lab.tcp(TOWN, "legacy", ECHO, &["-n", "5"]).await?;
    came_from(&summary.peers, legacy.ip(), 5)?;
    ensure!(summary.locals.get(&echo) == Some(&5), "{summary:?}");

    // Inbound by HBONE, from a pod that our own agent serves.
    let summary = town.lab.tcp(TOWN, "echo", legacy, &["-n", "5"]).await?;
    ensure!(summary.pods.get("legacy") == Some(&5), "{summary:?}");
    came_from(&summary.peers, echo.ip(), 5)?;
    let inbound = [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
        ("destination_workload", "legacy"),
        ("source_workload", "echo"),
    ];
    let opened = "istio_tcp_connections_opened_total";
    town.grows(1, (opened, &inbound), 0.0, 5.0).await?;

    // Inbound in plaintext, from outside the mesh.
    let outsider = town.address(OUTSIDE, "outsider")?.ip();
    let summary = town
        .lab
        .tcp(OUTSIDE, "outsider", legacy, &["-n", "5"])
        .await?;
    came_from(&summary.peers, outsider, 5)?;
    let plain = [
        ("reporter", "destination"),
        ("connection_security_policy", "unknown"),
        ("destination_workload", "legacy"),
    ];
    town.grows(1, (opened, &plain), 0.0, 5.0).await?;
    town.lab.down().await;
    Ok(())
}

fn came_from(
    peers: &std::collections::BTreeMap<IpAddr, usize>,
    from: IpAddr,
    n: usize,
) -> Result<()> {
    ensure!(peers.get(&from) == Some(&n), "{peers:?}, not {from}");
    Ok(())
}

/// Takes the place of node 1's agent: rules in the pod, its namespace to the proxy. The answer keeps
/// the session open.
async fn replace_agent(town: &Town) -> Result<SeqPacket> {
    let netns = town.lab.place(TOWN, "legacy")?.netns;
    let netns = netns.context("the pod has a namespace")?;
    town.kill(DaemonKind::Agent(node(1))).await?;
    town.kill(DaemonKind::Ztunnel(node(1))).await?;
    redirect(&netns)?;
    let path = town.lab.run_dir().join(node(1).short()).join("zds.sock");
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = SeqListener::bind(&path)?;
    town.daemon(DaemonKind::Ztunnel(node(1)))?.start().await?;
    let proxy = tokio::time::timeout(SOON, listener.accept()).await??;
    let mut buffer = vec![0; LONGEST];
    let (read, _) = tokio::time::timeout(SOON, proxy.recv(&mut buffer)).await??;
    let hello = ZdsHello::decode(buffer.get(..read).unwrap_or_default())?;
    ensure!(hello.version == 1, "{hello:?}");
    let add = AddWorkload {
        uid: "11111111-2222-4333-8444-555555555555".to_owned(),
        workload_info: Some(WorkloadInfo {
            name: "legacy".to_owned(),
            namespace: TOWN.to_owned(),
            service_account: "client".to_owned(),
        }),
        ambit: None,
    };
    let namespace = File::open(&netns)?;
    ask(&proxy, Payload::Add(add), &[namespace.as_fd()]).await?;
    ask(&proxy, Payload::SnapshotSent(SnapshotSent {}), &[]).await?;
    Ok(proxy)
}

/// One message and its acknowledgement.
async fn ask(proxy: &SeqPacket, payload: Payload, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let request = WorkloadRequest {
        payload: Some(payload),
    };
    proxy.send(&request.encode_to_vec(), fds).await?;
    let mut buffer = vec![0; LONGEST];
    let (read, fds) = tokio::time::timeout(SOON, proxy.recv(&mut buffer)).await??;
    ensure!(fds.is_empty(), "a plain agent expects no descriptors");
    let answer = WorkloadResponse::decode(buffer.get(..read).unwrap_or_default())?;
    match answer.payload {
        Some(workload_response::Payload::Ack(ack)) if ack.error.is_empty() => Ok(()),
        other => bail!("{other:?}"),
    }
}

/// Writes rules and routes of Istio's agent.
fn redirect(netns: &Path) -> Result<()> {
    let inside = |program: &str| {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", netns.display()))
            .arg(program);
        command
    };
    let mut nft = inside("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    nft.stdin
        .take()
        .context("piped")?
        .write_all(RULES.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused the rules");
    for words in [
        "rule add fwmark 0x111/0xfff pref 32764 lookup 100",
        "route add local 0.0.0.0/0 dev lo table 100",
    ] {
        let done = inside("ip").args(words.split(' ')).status()?;
        ensure!(done.success(), "ip {words}");
    }
    Ok(())
}
