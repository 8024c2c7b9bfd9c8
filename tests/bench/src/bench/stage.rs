//! The stage: a lab with a client on node 1 and a server on node 2, outside the mesh and in it, relays
//! beside those outside, and the two sites of the capture hop.
//! In: settings. Out: a [`Way`] per contender, load on it, the server's tally.
//! Owns: the lab and the relays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ambit_api::labels;
use ambit_harness::cluster::PodView;
use ambit_harness::lab::finish;
use ambit_harness::launch::Place;
use ambit_harness::process::{Process, Spec};
use ambit_harness::{Lab, cgroup, netns, until};
use anyhow::{Context, ensure};

use super::agree::Expected;
use super::cost::Proxies;
use super::kinds::{Contender, Measure};
use super::yaml::{self, CLIENT, SERVER};
use super::{Settings, say};
use crate::floor::{Mode, Route};
use crate::hop::Hop;
use crate::load::Summary;
use crate::serve::{BULK, Counts, HTTP, REPORT};
use crate::tune::{shorten, tune};

/// Pods outside the mesh.
const PLAIN: &str = "bench-plain";
/// Pods in it.
const MESH: &str = "bench-mesh";
/// Longest wait for pods.
const SOON: Duration = Duration::from_secs(60);

/// A contender's way from client to server.
pub(crate) struct Way {
    namespace: &'static str,
    bulk: SocketAddr,
    http: SocketAddr,
    /// Who must meet whom
    pub(crate) expected: Expected,
    /// What is in between
    pub(crate) proxies: Proxies,
}

/// Everything that runs.
pub(crate) struct Stage {
    /// The lab
    pub(crate) lab: Lab,
    /// The capture hop, if it is measured
    pub(crate) hop: Option<Hop>,
    ways: BTreeMap<Contender, Way>,
    program: PathBuf,
    relays: Vec<Process>,
}

impl Stage {
    /// Sets it.
    ///
    /// # Errors
    /// What did not come up.
    pub(crate) async fn set(lab: Lab, settings: &Settings) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("own program")?;
        let mut stage = Self {
            lab,
            hop: None,
            ways: BTreeMap::new(),
            program,
            relays: Vec::new(),
        };
        stage.pods(settings).await?;
        for contender in &settings.contenders {
            let way = match contender {
                Contender::NoMesh => stage.direct(PLAIN, Proxies::default())?,
                Contender::Plain => {
                    stage
                        .floor("plain", 20_000, Mode::Plain, Mode::Plain)
                        .await?
                }
                Contender::Sealed => {
                    stage
                        .floor("sealed", 21_000, Mode::Seal, Mode::Open)
                        .await?
                }
                Contender::Ambit => {
                    let nodes = stage.lab.nodes().iter();
                    let proxies = nodes.map(|node| node.system("ztunnel")).collect();
                    stage.direct(MESH, Proxies(proxies))?
                }
                Contender::Loopback | Contender::Captured => continue,
            };
            stage.ways.insert(*contender, way);
        }
        if settings.measures.iter().any(|measure| measure.is_hop()) {
            say("the capture hop");
            stage.hop = Some(Hop::build(&stage.lab, stage.program.clone()).await?);
        }
        Ok(stage)
    }

    /// The way of a contender, if it takes part.
    pub(crate) fn way(&self, contender: Contender) -> Option<&Way> {
        self.ways.get(&contender)
    }

    /// Starts load from the way's client pod.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(
        &self,
        way: &Way,
        measure: Measure,
        words: &[String],
    ) -> anyhow::Result<Process> {
        let to = way.target(measure).to_string();
        let mut command = vec![
            self.program.display().to_string(),
            "load".into(),
            "--to".into(),
            to,
        ];
        command.extend_from_slice(words);
        Ok(self.lab.start_in(way.namespace, CLIENT, command).await?)
    }

    /// Load from the way's client pod to its end.
    ///
    /// # Errors
    /// It failed; its own words say why.
    pub(crate) async fn load(
        &self,
        way: &Way,
        measure: Measure,
        words: &[String],
    ) -> anyhow::Result<Summary> {
        let output = finish(self.start(way, measure, words).await?).await?;
        ensure!(output.status.success(), "{}", output.stderr.trim());
        Ok(output.summary()?)
    }

    /// What the way's server has counted since this was last asked.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) async fn take(&self, way: &Way) -> anyhow::Result<Counts> {
        let pods = self.lab.pods();
        let server = pods.get(&(way.namespace.to_owned(), SERVER.to_owned()));
        let server = server.context("no server pod")?;
        let page = self.lab.pod_page(server, REPORT, "/take").await?;
        Ok(serde_json::from_str(&page)?)
    }

    /// Takes everything down in order.
    pub(crate) async fn clear(mut self) {
        self.hop = None;
        for relay in &mut self.relays {
            relay.kill().await;
        }
        self.lab.down().await;
    }

    async fn pods(&self, settings: &Settings) -> anyhow::Result<()> {
        let mesh = settings.contenders.contains(&Contender::Ambit);
        let namespaces: &[&str] = if mesh { &[PLAIN, MESH] } else { &[PLAIN] };
        say("pods: a client on node 1, a server on node 2");
        for name in namespaces {
            self.lab
                .apply(name, &yaml::namespace(name, *name == MESH, &self.program))?;
        }
        self.lab.pods_ready(SOON).await?;
        if mesh {
            until("both pods captured", SOON, || async {
                let cluster = self.lab.cluster();
                let pods = cluster.pods.values().map(|pod| PodView(pod));
                let captured = pods.filter(|pod| {
                    let state = pod.annotation(labels::REDIRECTION);
                    pod.namespace() == MESH && state.is_some_and(|state| state == "enabled")
                });
                let count = captured.count();
                if count == 2 {
                    Ok(())
                } else {
                    Err(format!("{count} of 2"))
                }
            })
            .await?;
        }
        for name in namespaces {
            for pod in [CLIENT, SERVER] {
                tune(&self.netns(name, pod)?)?;
            }
        }
        self.lab
            .nodes()
            .iter()
            .try_for_each(|node| shorten(&node.netns.path()))
    }

    fn netns(&self, namespace: &str, pod: &str) -> anyhow::Result<PathBuf> {
        let place = self.lab.place(namespace, pod)?;
        place.netns.context("a pod that runs has a namespace")
    }

    fn address(&self, namespace: &str, pod: &str) -> anyhow::Result<IpAddr> {
        let address = self.lab.pod_address(namespace, pod);
        Ok(address
            .with_context(|| format!("{namespace}/{pod} has no address"))?
            .into())
    }

    /// From pod to pod, whatever the node does on the way.
    fn direct(&self, namespace: &'static str, proxies: Proxies) -> anyhow::Result<Way> {
        let server = self.address(namespace, SERVER)?;
        Ok(Way {
            namespace,
            bulk: (server, BULK).into(),
            http: (server, HTTP).into(),
            expected: Expected {
                server: yaml::server(namespace),
                address: server,
                // The address is kept: also the mesh's server sees who it is.
                peer: self.address(namespace, CLIENT)?,
            },
            proxies,
        })
    }

    /// A relay in each pod's namespace, listening from `base`; outside the pods' cgroups, so that their
    /// work is counted apart.
    async fn floor(&mut self, name: &str, base: u16, near: Mode, far: Mode) -> anyhow::Result<Way> {
        let server = self.address(PLAIN, SERVER)?;
        let hop = |port: u16, to: IpAddr, to_port: u16| Route {
            listen: (Ipv4Addr::UNSPECIFIED, base + port % 10).into(),
            connect: (to, to_port).into(),
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, base + port % 10));
        let near_routes = [BULK, HTTP].map(|port| hop(port, server, base + port % 10));
        let far_routes = [BULK, HTTP].map(|port| hop(port, server, port));
        let proxies = vec![
            self.relay(SERVER, &format!("{name}-far"), far, far_routes)
                .await?,
            self.relay(CLIENT, &format!("{name}-near"), near, near_routes)
                .await?,
        ];
        Ok(Way {
            namespace: PLAIN,
            bulk: local(BULK),
            http: local(HTTP),
            expected: Expected {
                server: yaml::server(PLAIN),
                address: server,
                // A bare relay has only its own address.
                peer: server,
            },
            proxies: Proxies(proxies),
        })
    }

    async fn relay(
        &mut self,
        pod: &str,
        name: &str,
        mode: Mode,
        routes: [Route; 2],
    ) -> anyhow::Result<PathBuf> {
        let netns = self.netns(PLAIN, pod)?;
        let cgroup = cgroup::mount_point()?
            .join(self.lab.name().cgroup())
            .join(name);
        cgroup::create(&cgroup)?;
        let [bulk, messages] = routes;
        let words = [
            "relay",
            "--mode",
            mode.name(),
            "--bulk",
            &bulk.to_string(),
            "--messages",
            &messages.to_string(),
        ]
        .map(str::to_owned);
        let place = Place {
            netns: Some(netns.clone()),
            cgroup: Some(cgroup.clone()),
            ..Place::default()
        };
        let log = self.lab.run_dir().join("log").join(format!("{name}.log"));
        let spec = Spec::new(&self.program, words).at(place).log(log);
        let spawner = &self.lab.nodes().first().context("a lab has nodes")?.spawner;
        self.relays.push(spawner.spawn(spec).await?);
        for route in routes {
            let to = (Ipv4Addr::LOCALHOST, route.listen.port()).into();
            let listens = || netns::connect(&netns, to, SOON);
            until(&format!("{name} to listen"), SOON, listens).await?;
        }
        Ok(cgroup)
    }
}

impl Way {
    /// Where a measure's load connects to.
    pub(crate) fn target(&self, measure: Measure) -> SocketAddr {
        match measure {
            Measure::Bulk1 | Measure::Bulk4 => self.bulk,
            _ => self.http,
        }
    }
}

/// The server's port for a measure.
pub(crate) fn port(measure: Measure) -> u16 {
    match measure {
        Measure::Bulk1 | Measure::Bulk4 => BULK,
        _ => HTTP,
    }
}
