//! A node: containerd, kubelet, kube-proxy.
//! In: certificates, the pause and DNS images. Out: three programs on a file system of the node's own.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::mounts;
use super::supervise::{Program, Supervisor};
use crate::base;
use crate::cgroups::Hierarchies;
use crate::configuration;
use crate::load::import;
use crate::names::{NodeNumber, Role};
use crate::preflight::cni_plugins;
use crate::process;
use crate::state::{Composition, Directory};

const SOCKET: &str = "/run/containerd/containerd.sock";

pub(super) fn run(
    directory: &Directory,
    composition: &Composition,
    node: NodeNumber,
) -> Result<()> {
    let hierarchies = Hierarchies::find()?;
    let plugins = cni_plugins()?;
    mounts::detach()?;
    nix::unistd::sethostname(node.to_string()).context("name the node")?;
    mounts::node(&directory.role(Role::Node(node)), &hierarchies)?;
    files(
        directory,
        node,
        hierarchies.hybrid(),
        &plugins,
        composition.shape.dual_stack,
    )?;
    let mut supervisor = Supervisor::new(directory.logs(Role::Node(node)));
    supervisor.start(Program {
        name: "containerd",
        file: process::find("containerd").context("containerd is not installed")?,
        arguments: ["-c", "/etc/kubernetes/containerd.toml"]
            .map(str::to_owned)
            .to_vec(),
    })?;
    supervisor.until(|| UnixStream::connect(SOCKET).is_ok());
    for image in base::archives(&composition.binaries) {
        import(Path::new(SOCKET), &image)?;
    }
    let kubebox = composition.binaries.join("kubebox");
    let part = |name: &'static str, mut arguments: Vec<String>| {
        arguments.insert(0, name.to_owned());
        Program {
            name,
            file: kubebox.clone(),
            arguments,
        }
    };
    supervisor.start(part(
        "kubelet",
        configuration::kubelet_arguments(&directory.pki(), node, composition.shape.dual_stack),
    ))?;
    let proxy = ["--config=/etc/kubernetes/kube-proxy.json", "--v=2"].map(str::to_owned);
    supervisor.start(part("kube-proxy", proxy.to_vec()))?;
    supervisor.forever()
}

/// Everything the programs read.
fn files(
    directory: &Directory,
    node: NodeNumber,
    hybrid: bool,
    plugins: &[PathBuf],
    dual_stack: bool,
) -> Result<()> {
    for path in [
        "/run/lock",
        "/run/netns",
        "/var/log/pods",
        "/etc/cni/net.d",
        "/opt/cni/bin",
    ] {
        process::directory(Path::new(path))?;
    }
    let network = Path::new("/etc/cni/net.d/10-pod.conflist");
    if !network.exists() {
        // The machine may have networks of its own; this node has one. A node that starts again keeps
        // what was made of it meanwhile, as a real one does.
        clear(Path::new("/etc/cni/net.d"))?;
        process::write(network, configuration::cni(node, dual_stack).to_string())?;
    }
    for plugin in plugins {
        let name = plugin.file_name().context("a plugin has a name")?;
        let to = Path::new("/opt/cni/bin").join(name);
        std::fs::copy(plugin, &to).with_context(|| to.display().to_string())?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))
            .context("a plugin's mode")?;
    }
    let pki = directory.pki();
    let etc = Path::new("/etc/kubernetes");
    process::write(&etc.join("resolv.conf"), "")?;
    process::write(&etc.join("containerd.toml"), configuration::containerd())?;
    process::write(
        &etc.join("kubelet.json"),
        configuration::kubelet(&pki, node, hybrid).to_string(),
    )?;
    process::write(
        &etc.join("kube-proxy.json"),
        configuration::kube_proxy(&pki, node, dual_stack).to_string(),
    )
}

fn clear(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .flatten()
    {
        std::fs::remove_file(entry.path()).with_context(|| entry.path().display().to_string())?;
    }
    Ok(())
}
