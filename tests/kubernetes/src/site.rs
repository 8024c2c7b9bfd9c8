//! A cluster of a test's own with the images in it.
//! In: programs of this workspace as they were built last. Out: `kubectl` and `ambit` where the API server
//! is reachable, shells on nodes. Owns the cluster: it goes with the value, also after a failure, and a
//! failure leaves on the screen what the mesh's pods said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ambit_cluster::{Binaries, ClusterName, Directory, NodeNumber, Role, kubectl};
use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{ended, feed, output};

/// Images of the mesh and of the samples that the guide uses.
const IMAGES: [&str; 11] = [
    "controller",
    "agent",
    "ztunnel",
    "waypoint",
    "bookinfo-productpage-v1",
    "bookinfo-details-v1",
    "bookinfo-reviews-v1",
    "bookinfo-reviews-v2",
    "bookinfo-reviews-v3",
    "bookinfo-ratings-v1",
    "curl",
];
/// Where machines with both versions of control groups have the second.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// Whether a cluster can be made here. Says why not, and fails where everything must run (`CI` is set),
/// unless `AMBIT_KUBERNETES=off` takes it out.
///
/// # Panics
/// Under CI without root or without a built Kubernetes.
#[must_use]
pub fn can_run() -> bool {
    if std::env::var_os("AMBIT_KUBERNETES").is_some_and(|value| value == "off") {
        say("not run: AMBIT_KUBERNETES=off");
        return false;
    }
    let lacking = if nix::unistd::geteuid().is_root() {
        match Binaries::cached() {
            Ok(Some(_)) => return true,
            Ok(None) => "Kubernetes is not built: `cargo xtask cluster build`".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    } else {
        "a cluster needs root".to_owned()
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "under CI it must run: {lacking}"
    );
    say(&format!("not run: {lacking}"));
    false
}

/// Says a line.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    // Nobody is told if nobody can be.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The cluster.
#[derive(Debug)]
pub struct Site {
    programs: PathBuf,
    directory: Directory,
    /// Nothing went wrong so far
    fine: bool,
}

impl Site {
    /// Brings a cluster up, writes the images and loads them.
    ///
    /// # Errors
    /// Programs that are not built, a cluster that does not come up.
    pub fn up(name: &str) -> Result<Self> {
        Self::with(name, &[])
    }

    /// The same with images of more samples.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn with(name: &str, samples: &[&str]) -> Result<Self> {
        Self::of(name, samples, &[])
    }

    /// The same of a cluster that `cargo xtask cluster up` makes with further options.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub fn of(name: &str, samples: &[&str], options: &[&str]) -> Result<Self> {
        let test = std::env::current_exe().context("find this program")?;
        // <target>/<profile>/deps/<test>
        let mut above = test.ancestors().skip(2);
        let (profile, target) = above
            .next()
            .zip(above.next())
            .context("tests are in cargo's build directory")?;
        let name: ClusterName = name.parse()?;
        let site = Self {
            programs: profile.to_owned(),
            directory: Directory::new(target, name)?,
            fine: false,
        };
        for program in ["xtask", "ambit"] {
            let file = site.programs.join(program);
            ensure!(
                file.is_file(),
                "{} is not built: `cargo build --workspace`",
                file.display()
            );
        }
        let images = [&IMAGES[..], samples].concat();
        site.xtask(&["images", "--built"], &images)?;
        site.cluster(&[&["up", "--nodes", "2"], options].concat())?;
        let archives: Vec<PathBuf> = images
            .iter()
            .map(|image| target.join(format!("images/{image}.tar")))
            .collect();
        ambit_cluster::load(&site.directory, &archives)?;
        Ok(site)
    }

    /// Takes the cluster down.
    ///
    /// # Errors
    /// What stays.
    pub fn down(mut self) -> Result<()> {
        self.fine = true;
        self.cluster(&["down"])
    }

    /// What `kubectl` prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(kubectl(&self.directory)?.args(arguments))
    }

    /// A `kubectl` that the caller runs.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = kubectl(&self.directory)?;
        command.args(arguments);
        Ok(command)
    }

    /// What `kubectl get` finds, as JSON.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.kubectl_command(&["get", "--output=json"])?;
        let text = output(command.args(arguments))?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get {}", arguments.join(" ")))
    }

    /// Applies YAML.
    pub(crate) fn apply(&self, yaml: &str) -> Result<String> {
        feed(&mut self.kubectl_command(&["apply", "-f", "-"])?, yaml)
    }

    /// Applies YAML to a namespace.
    pub(crate) fn apply_in(&self, namespace: &str, yaml: &str) -> Result<String> {
        let words = ["apply", "--namespace", namespace, "-f", "-"];
        feed(&mut self.kubectl_command(&words)?, yaml)
    }

    /// Applies a public manifest, unedited.
    pub(crate) fn apply_sample(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.sample("apply", namespace, manifest)
    }

    /// Deletes what a public manifest describes.
    pub(crate) fn delete_sample(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.sample("delete", namespace, manifest)
    }

    fn sample(&self, verb: &str, namespace: &str, manifest: &str) -> Result<String> {
        let path = self.samples()?.join(manifest);
        let path = path.to_str().context("a path in UTF-8")?;
        self.kubectl(&[verb, "--namespace", namespace, "-f", path])
    }

    /// Deletes what YAML describes.
    pub(crate) fn delete(&self, yaml: &str) -> Result<String> {
        feed(&mut self.kubectl_command(&["delete", "-f", "-"])?, yaml)
    }

    /// What `ambit` prints.
    pub(crate) fn ambit(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.ambit_command(arguments))
    }

    /// An `ambit` that the caller runs.
    pub(crate) fn ambit_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.beside_kubectl(self.programs.join("ambit"));
        command
            .args(arguments)
            .env("KUBECONFIG", self.directory.admin());
        command
    }

    /// What helm prints.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.beside_kubectl(self.programs.join("xtask"));
        command.arg("helm").args(arguments);
        output(command.env("KUBECONFIG", self.directory.admin()))
    }

    /// A program where `kubectl` runs.
    pub(crate) fn beside_kubectl(&self, program: impl AsRef<OsStr>) -> Command {
        let netns = self.directory.name().of(Role::ControlPlane);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{netns}"))
            .arg("--")
            .arg(program);
        command
    }

    /// What a shell on a node prints.
    pub(crate) fn on_node(&self, node: NodeNumber, script: &str) -> Result<String> {
        let pid = self.directory.process(Role::Node(node));
        let pid = pid.with_context(|| format!("{node} does not run"))?;
        let target = pid.to_string();
        output(
            Command::new("nsenter").args(["--all", "--target", &target, "--", "sh", "-ec", script]),
        )
    }

    /// The network namespace where the links of all nodes meet.
    pub(crate) fn control_plane(&self) -> PathBuf {
        let netns = self.directory.name().of(Role::ControlPlane);
        Path::new("/run/netns").join(netns)
    }

    /// The process of a program of the control plane.
    pub(crate) fn control_plane_program(&self, program: &str) -> Result<Pid> {
        let first = self.directory.process(Role::ControlPlane);
        let first = first.context("the control plane does not run")?;
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        for pid in children.split_whitespace() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
            let mut words = line.split(|byte| *byte == 0);
            if words.any(|word| word == program.as_bytes()) {
                return Ok(Pid::from_raw(pid.parse()?));
            }
        }
        bail!("{program} does not run")
    }

    /// Every node.
    pub(crate) fn nodes(&self) -> Result<Vec<NodeNumber>> {
        NodeNumber::first(2)
    }

    /// The directory of the public samples' manifests.
    pub(crate) fn samples(&self) -> Result<PathBuf> {
        ambit_cluster::samples()
    }

    /// The value of `cni.cgroupPath` for this machine's nodes.
    pub(crate) fn cgroup_path(&self) -> Option<&'static str> {
        Path::new(HYBRID).is_dir().then_some(HYBRID)
    }

    /// Does something to the cluster, as `cargo xtask cluster` does.
    pub(crate) fn cluster(&self, arguments: &[&str]) -> Result<()> {
        let name = self.directory.name().to_string();
        self.xtask(&["cluster", "--name", &name], arguments)
    }

    fn xtask(&self, first: &[&str], then: &[&str]) -> Result<()> {
        output(
            Command::new(self.programs.join("xtask"))
                .args(first)
                .args(then),
        )
        .map(drop)
    }

    fn tell(&self) {
        let looks: [&[&str]; 5] = [
            &["get", "pods", "--all-namespaces", "--output=wide"],
            &[
                "get",
                "events",
                "--all-namespaces",
                "--sort-by=.lastTimestamp",
            ],
            &[
                "logs",
                "-nistio-system",
                "-lapp=ambit-controller",
                "--tail=40",
            ],
            &[
                "logs",
                "-nistio-system",
                "-lapp=ambit-cni-node",
                "--tail=40",
            ],
            &["logs", "-nistio-system", "-lapp=ztunnel", "--tail=40"],
        ];
        for arguments in looks {
            let Ok(mut command) = self.kubectl_command(arguments) else {
                return;
            };
            say(&format!("── kubectl {} ──", arguments.join(" ")));
            if let Ok(output) = ended(&mut command) {
                say(&String::from_utf8_lossy(&output.stdout));
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.fine {
            return;
        }
        self.tell();
        if let Err(error) = self.cluster(&["down"]) {
            say(&format!("the cluster stays: {error:#}"));
        }
    }
}
