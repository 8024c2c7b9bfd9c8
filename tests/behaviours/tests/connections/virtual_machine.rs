//! A virtual machine inside a pod, by an interface the pod names.

use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town_of};
use ambit_harness::client::TcpSummary;
use ambit_harness::cluster::PodView;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::{Families, until};
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;

const CLIENT: &str = "metadata: {name: client, namespace: town, labels: {app: client}}";
const NAMES_IT: &str = "metadata: {name: client, namespace: town, labels: {app: client}, \
    annotations: {istio.io/reroute-virtual-interfaces: \"tap0, vm0\"}}";
/// Only the client may talk to `echo`, by its identity and the pod's address.
const ONLY_THE_CLIENT: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-the-client, namespace: town}
spec:
  selector: {matchLabels: {app: echo}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/town/sa/client], ipBlocks: [ADDRESS]}}]
";
const ADDRESS: &str = "192.168.9.2";

/// A network namespace in the place of a virtual machine; dropping it removes it.
struct Machine(String);

impl Machine {
    /// Plugs it into the client's pod, which has no such interface before.
    async fn plug(town: &Town) -> Result<Self> {
        let machine = Self(format!("{}vm", town.lab.name().netns_prefix()));
        let name = &machine.0;
        let netns = town.lab.place(TOWN, "client")?.netns;
        let pod = netns.map(|netns| netns.to_string_lossy().into_owned());
        let pod = pod.unwrap_or_default();
        for words in [
            format!("ip netns add {name}"),
            format!("ip -n {name} link add eth0 type veth peer name vm0"),
            format!("ip -n {name} link set vm0 netns {pod}"),
            format!("ip -n {name} addr add {ADDRESS}/24 dev eth0"),
            format!("ip -n {name} link set eth0 up"),
            format!("nsenter --net={pod} ip addr add 192.168.9.1/24 dev vm0"),
            format!("nsenter --net={pod} ip link set vm0 up"),
            format!("nsenter --net={pod} sysctl -qw net.ipv4.ip_forward=1"),
            format!("ip -n {name} route add default via 192.168.9.1"),
        ] {
            let mut split = words.split(' ');
            let program = split.next().unwrap_or_default();
            let done = Command::new(program).args(split).output()?;
            ensure!(done.status.success(), "{words}: {done:?}");
        }
        Ok(machine)
    }

    /// One connection to an echo server.
    async fn tcp(&self, town: &Town, to: SocketAddr) -> Result<TcpSummary> {
        let command = self.command(town, to, &[]);
        Ok(town.lab.exec(TOWN, "client", command).await?.summary()?)
    }

    /// The same as a command in the client's pod.
    fn command(&self, town: &Town, to: SocketAddr, args: &[&str]) -> Vec<OsString> {
        let bookinfo = town.lab.programs().join("bookinfo").into_os_string();
        let net = format!("--net=/run/netns/{}", self.0).into();
        let mut command = vec!["nsenter".into(), net, bookinfo, "tcp".into()];
        command.push(to.to_string().into());
        command.extend(args.iter().map(OsString::from));
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_in_a_pod_dials_is_the_pods_own() -> Result<()> {
    let yaml = include_str!("../../src/town.yaml").replace(CLIENT, NAMES_IT);
    ensure!(yaml.contains("tap0, vm0"), "the town's client is another");
    let Some(town) = town_of(Families::V4, &yaml).await? else {
        return Ok(());
    };
    let pod = town.address(TOWN, "client")?.ip();
    town.lab.apply(
        "only-the-client",
        &ONLY_THE_CLIENT.replace("ADDRESS", &pod.to_string()),
    )?;
    let machine = Machine::plug(&town).await?;
    let capture = town.lab.capture("")?;
    // It comes while the pod runs.
    for to in [ECHO, town.address(TOWN, "echo")?] {
        until("the machine reaches the echo server", SOON, || async {
            match machine.tcp(&town, to).await {
                Ok(s) if s.completed == 1 && s.peers.get(&pod) == Some(&1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    let plain = capture.seen().other_bytes;
    ensure!(
        plain == 0,
        "{plain} bytes between the nodes outside of tunnels"
    );
    let rerouted = || async {
        let metrics = town.lab.agent_metrics(node(1)).await?;
        let labels = [("decision", "rerouted")];
        anyhow::Ok(metrics.sum("ambit_capture_decisions_total", &labels))
    };
    ensure!(rerouted().await? >= 2.0, "nothing was rerouted");
    let log = town.lab.log(DaemonKind::Ztunnel(node(1)));
    ensure!(
        log.lines().any(|line| {
            line.contains(&format!("src.addr={ADDRESS}"))
                && line.contains("src.workload=\"client\"")
        }),
        "{log}"
    );
    // To somebody outside the mesh it is the pod that forwards, and the proxy that dials.
    let plain = town.address(OUTSIDE, "plain")?;
    let seen = machine.tcp(&town, plain).await?;
    ensure!(seen.peers.get(&pod) == Some(&1), "{seen:?}");
    leaves(&town, &machine).await?;
    drop(machine);
    town.lab.down().await;
    Ok(())
}

/// A connection that is open when the pod leaves lives on; when it has ended nothing of the mesh is left.
async fn leaves(town: &Town, machine: &Machine) -> Result<()> {
    let labels = [("reporter", "destination"), ("response_flags", "-")];
    let opened = ("istio_tcp_connections_opened_total", &labels[..]);
    let before = town.counted(2, opened.0, opened.1).await?;
    let command = machine.command(town, ECHO, &["--hold-ms", "20"]);
    let open = town.lab.start_in(TOWN, "client", command).await?;
    town.grows(2, opened, before, 1.0).await?;
    town.lab.edit("town", "mode: ambient", "mode: none")?;
    let annotation = || {
        let cluster = town.lab.cluster();
        let pod = cluster.pods.get(&(TOWN.to_owned(), "client".to_owned()))?;
        PodView(pod)
            .annotation("ambient.istio.io/redirection")
            .cloned()
    };
    until("the pod has left", SOON, || async {
        annotation().map_or(Ok(()), Err)
    })
    .await?;
    ensure!(rules(town).await?.contains("0x113"), "the drain needs it");
    open.signal(Signal::SIGTERM);
    let summary: TcpSummary = finish(open).await?.summary()?;
    ensure!(summary.completed == 1, "{summary:?}");
    until("no rule is left", SOON, || async {
        let rules = rules(town).await.map_err(|e| format!("{e:#}"))?;
        if rules.contains("0x11") {
            Err(rules)
        } else {
            Ok(())
        }
    })
    .await?;
    Ok(())
}

async fn rules(town: &Town) -> Result<String> {
    let shown = town.lab.exec(TOWN, "client", ["ip", "rule", "show"]);
    Ok(shown.await?.stdout)
}
