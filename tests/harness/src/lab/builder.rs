//! Bringing a lab up.
//! In: choices. Out: a [`Lab`] whose daemons are ready; pods start as soon as their YAML is there.
//! Order: leftovers swept, network, cgroups and bpffs, tokens, controller, kubelets, agents, proxies.
//! A failure on the way removes what was made.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::daemon::DaemonKind;
use super::file::LabFile;
use super::mesh::{self, Layout};
use super::{Lab, LabError, sweep};
use crate::dns::Responder;
use crate::dns::zone::resolv_conf;
use crate::families::Families;
use crate::kubelet::image::Images;
use crate::kubelet::node::Node;
use crate::kubelet::status::{Pods, Statuses};
use crate::kubelet::{self, token_file};
use crate::names::{LabName, NodeNumber, SYSTEM_NAMESPACE, labs_dir};
use crate::network::{self, Addresses};
use crate::prober::Prober;
use crate::process::Spawner;
use crate::tokens::Issuer;
use crate::{cgroup, feed};

/// Choices for a lab.
pub struct LabBuilder {
    name: String,
    nodes: u8,
    families: Families,
    mesh: bool,
    programs: PathBuf,
    token_lifetime: Duration,
    log_filter: String,
    controller_settings: Vec<(String, String)>,
    progress: Box<dyn Fn(&str) + Send + Sync>,
}

impl LabBuilder {
    /// Two nodes, IPv4, the whole mesh, programs beside the running one.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 2,
            families: Families::default(),
            mesh: true,
            programs: built_programs(),
            token_lifetime: Duration::from_secs(120),
            log_filter: "info".to_owned(),
            controller_settings: Vec::new(),
            progress: Box::new(|_| {}),
        }
    }

    /// How many nodes, from 1.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes.max(1);
        self
    }

    /// Address families of nodes, pods and Services.
    #[must_use]
    pub fn families(mut self, families: Families) -> Self {
        self.families = families;
        self
    }

    /// No agent, proxy or controller, and no chained plugin: a plain cluster network.
    #[must_use]
    pub fn without_mesh(mut self) -> Self {
        self.mesh = false;
        self
    }

    /// Where built programs are, if not beside the running one.
    #[must_use]
    pub fn programs(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.programs);
        self
    }

    /// How long service account tokens are good for; they are renewed at half of it.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// `tracing` filter of every program.
    #[must_use]
    pub fn log_filter(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.log_filter);
        self
    }

    /// A setting of the controller by the name of its environment variable.
    #[must_use]
    pub fn controller_setting(mut self, name: &str, value: &str) -> Self {
        self.controller_settings
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Called before each step with what it is.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(tell);
        self
    }

    /// Brings the lab up.
    ///
    /// # Errors
    /// [`LabError`]; what was made is removed.
    pub async fn up(self) -> Result<Lab, LabError> {
        let name: LabName = self.name.parse()?;
        if !super::is_root() {
            return Err(LabError::NotRoot);
        }
        claim(&name)?;
        let made = self.make(&name).await;
        if made.is_err() {
            sweep(&name);
        }
        made
    }

    async fn make(self, name: &LabName) -> Result<Lab, LabError> {
        let layout = self.layout(name)?;
        let numbers: Vec<NodeNumber> = (1..=self.nodes).map(NodeNumber::new).collect();
        (self.progress)("network: a core, nodes, routes");
        machine(&layout, &numbers, self.mesh)?;
        let issuer = Arc::new(Issuer::new()?);
        write(&layout.jwks(), issuer.jwks().to_string().as_bytes())?;
        let spawner =
            Spawner::start(self.programs.join("ambit-lab")).map_err(|source| LabError::Io {
                path: "spawner thread".into(),
                source,
            })?;
        let (cluster, follow) = feed::follow(&layout.directory)?;
        let mut lab = Lab {
            name: name.clone(),
            families: self.families,
            directory: layout.directory.clone(),
            programs: self.programs.clone(),
            spawner,
            issuer,
            nodes: Vec::new(),
            daemons: Vec::new(),
            cluster,
            pods: Arc::new(Pods::default()),
            services: Vec::new(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        lab.tasks.spawn(follow);
        for number in &numbers {
            lab.write_yaml(
                "lab-nodes",
                number,
                &mesh::node_object(*number, self.families),
            )?;
            self.add_node(&mut lab, &layout, *number).await?;
        }
        if self.mesh {
            self.add_mesh(&mut lab, &layout, &numbers).await?;
        }
        lab.describe(layout).await?;
        Ok(lab)
    }

    fn layout(&self, name: &LabName) -> Result<Layout, LabError> {
        Ok(Layout {
            lab: name.clone(),
            families: self.families,
            directory: name.run_dir().join("dir"),
            programs: self.programs.clone(),
            cgroup: cgroup::mount_point()?.join(name.cgroup()),
            log_filter: self.log_filter.clone(),
            controller_settings: self.controller_settings.clone(),
        })
    }

    /// DNS, services, kubelet of one node.
    async fn add_node(
        &self,
        lab: &mut Lab,
        layout: &Layout,
        number: NodeNumber,
    ) -> Result<(), LabError> {
        let netns = lab.name.netns(&number.short());
        let started =
            Prober::start(&lab.spawner, layout.kubelet_place(number), &mut lab.tasks).await;
        let prober = started.map_err(|source| LabError::Spawn {
            what: "prober".to_owned(),
            source,
        })?;
        let writer = ambit_source::Writer::new(&layout.directory, &number.name())?;
        let node = Arc::new(Node {
            lab: lab.name.clone(),
            number,
            name: number.name(),
            families: self.families,
            netns: netns.clone(),
            cgroup: layout.node_cgroup(number),
            dir: layout.node_dir(number),
            logs: layout.logs(),
            spawner: lab.spawner.clone(),
            prober,
            statuses: Statuses::new((number, self.families), writer, lab.pods.clone()),
            issuer: lab.issuer.clone(),
            token_lifetime: self.token_lifetime,
            chain: self.mesh.then(|| mesh::chain(layout, number)),
            images: Images {
                programs: self.programs.clone(),
            },
            mesh_env: mesh::proxy_environment(layout),
            addresses: Mutex::new(Addresses::default()),
        });
        for address in self.families.dns() {
            let dns = Responder::bind(&netns.path(), address).await;
            let dns = dns.map_err(|source| LabError::Io {
                path: "DNS responder".into(),
                source,
            })?;
            lab.tasks.spawn(dns.serve(lab.cluster.clone()));
        }
        let (applied, services) = watch::channel(Arc::default());
        lab.services.push(services);
        lab.tasks.spawn(super::observe::keep_services(
            (netns, self.families),
            lab.cluster.clone(),
            applied,
        ));
        lab.tasks.spawn(kubelet::run(
            node.clone(),
            lab.cluster.clone(),
            lab.stop.clone(),
        ));
        lab.nodes.push(node);
        Ok(())
    }

    /// Controller, then an agent and a proxy per node; returns when all say they are ready.
    async fn add_mesh(
        &self,
        lab: &mut Lab,
        layout: &Layout,
        nodes: &[NodeNumber],
    ) -> Result<(), LabError> {
        (self.progress)("controller");
        lab.add_daemon(DaemonKind::Controller, mesh::controller(layout), None)
            .await?;
        lab.controller_ready(&layout.root_cert()).await?;
        for number in nodes {
            let (subject, token) = (
                mesh::ztunnel_subject(*number),
                layout.ztunnel_token(*number),
            );
            token_file::write(&lab.issuer, &subject, &token, self.token_lifetime)?;
            lab.tasks.spawn(token_file::keep(
                lab.issuer.clone(),
                subject,
                token.clone(),
                self.token_lifetime,
            ));
            (self.progress)(&format!("agent and ztunnel on {}", number.name()));
            lab.add_daemon(
                DaemonKind::Agent(*number),
                mesh::agent(layout, *number),
                None,
            )
            .await?;
            lab.add_daemon(
                DaemonKind::Ztunnel(*number),
                mesh::ztunnel(layout, *number),
                Some(token),
            )
            .await?;
        }
        for daemon in lab.daemons.clone() {
            lab.daemon_ready(&daemon).await?;
        }
        Ok(())
    }
}

/// Namespaces, cgroups, mounts, directories.
fn machine(layout: &Layout, numbers: &[NodeNumber], mesh: bool) -> Result<(), LabError> {
    for dir in [
        labs_dir(),
        layout.lab.run_dir(),
        layout.logs(),
        layout.directory.clone(),
        layout.ca_dir(),
    ] {
        make_dir(&dir)?;
    }
    cgroup::create(&layout.cgroup.join("core"))?;
    network::create_core(&layout.lab, layout.families)?;
    for number in numbers {
        for dir in [
            layout.node_dir(*number),
            layout.node_dir(*number).join("agent"),
            layout.bpffs(*number),
        ] {
            make_dir(&dir)?;
        }
        network::create_node(&layout.lab, *number, numbers, layout.families)?;
        let cgroup = layout.node_cgroup(*number);
        cgroup::create(&cgroup.join("kubepods"))?;
        for program in mesh::SYSTEM_CGROUPS {
            cgroup::create(&cgroup.join("system").join(program))?;
        }
        write(
            &layout.node_resolver(*number),
            resolv_conf(SYSTEM_NAMESPACE, layout.families.nameserver()).as_bytes(),
        )?;
        if mesh {
            let path = layout.bpffs(*number);
            mount(
                Some("bpf"),
                &path,
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .map_err(|source| LabError::Mount {
                path: path.clone(),
                source,
            })?;
        }
    }
    Ok(())
}

/// Makes sure that no live process holds a lab of this name, and removes what a dead one left.
fn claim(name: &LabName) -> Result<(), LabError> {
    if let Ok(file) = LabFile::read(name) {
        let holder = nix::unistd::Pid::from_raw(file.pid);
        if file.pid != own_pid() && nix::sys::signal::kill(holder, None).is_ok() {
            return Err(LabError::Running {
                name: name.to_string(),
                pid: file.pid,
            });
        }
    }
    sweep(name);
    make_dir(&labs_dir())?;
    // Claimed from here on, long before there is anything to describe.
    let claim = LabFile {
        name: name.to_string(),
        pid: own_pid(),
        ..LabFile::default()
    };
    claim.write(name).map_err(|source| LabError::Io {
        path: name.lab_file(),
        source,
    })
}

/// This process, as the lab file names it.
pub(super) fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn make_dir(path: &Path) -> Result<(), LabError> {
    std::fs::create_dir_all(path).map_err(|source| LabError::Io {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    std::fs::write(path, bytes).map_err(|source| LabError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The directory cargo builds programs into, seen from a program or a test in it.
fn built_programs() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let directory = own.parent().unwrap_or(Path::new("."));
    match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory).to_owned(),
        _ => directory.to_owned(),
    }
}
