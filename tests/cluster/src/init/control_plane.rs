//! The control plane: etcd and the API server first, then those that need them.
//! In: certificates. Out: four programs. Controllers and scheduler would end for good if they started
//! before the API server has made its default roles.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::mounts;
use super::supervise::{Program, Supervisor};
use crate::configuration;
use crate::names::Role;
use crate::process;
use crate::state::{Composition, Directory};

const CONNECT: Duration = Duration::from_secs(1);

pub(super) fn run(directory: &Directory, composition: &Composition) -> Result<()> {
    mounts::detach()?;
    mounts::proc()?;
    let own = directory.role(Role::ControlPlane);
    let data = own.join("etcd");
    process::directory(&data)?;
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))
        .context("close the store")?;
    let config = own.join("etcd.json");
    process::write(&config, configuration::etcd(&data).to_string())?;
    let pki = directory.pki();
    let kubebox = composition.binaries.join("kubebox");
    let part = |name: &'static str, mut arguments: Vec<String>| {
        arguments.insert(0, name.to_owned());
        Program {
            name,
            file: kubebox.clone(),
            arguments,
        }
    };
    let mut supervisor = Supervisor::new(directory.logs(Role::ControlPlane));
    supervisor.start(part("etcd", vec![config.display().to_string()]))?;
    supervisor.start(part(
        "kube-apiserver",
        configuration::api_server(&pki, &composition.shape),
    ))?;
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);
    supervisor.until(|| TcpStream::connect_timeout(&address, CONNECT).is_ok());
    supervisor.until(|| {
        let ready = Command::new(&kubebox)
            .args(["kubectl", "get", "--raw", "/readyz", "--kubeconfig"])
            .arg(directory.admin())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ready.is_ok_and(|status| status.success())
    });
    supervisor.start(part(
        "kube-controller-manager",
        configuration::controllers(&pki),
    ))?;
    supervisor.start(part("kube-scheduler", configuration::scheduler(&pki)))?;
    supervisor.forever()
}
