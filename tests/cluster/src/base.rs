//! What every cluster starts with: images of pods' pause process and of DNS, and the objects of
//! `deploy/cluster/manifests`, besides the Gateway API's own definitions.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::image::{self, Configuration, Tree};
use crate::kubectl::apply;
use crate::module::Module;
use crate::state::Directory;

/// The process that keeps a pod's namespaces.
pub(crate) const PAUSE: &str = "ambit.test/pause:1";
/// DNS of the cluster; named in the manifests too.
const COREDNS: &str = "ambit.test/coredns:1";
/// CoreDNS, RBAC of the API server.
const MANIFESTS: &str = include_str!("../../../deploy/cluster/manifests/base.yaml");
/// Where the definitions of the Gateway API come from.
const GATEWAY_API: Module = Module {
    path: "sigs.k8s.io/gateway-api",
    version: "v1.4.1",
    sum: "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
};

/// Archives beside the programs.
pub(crate) fn archives(binaries: &Path) -> [PathBuf; 2] {
    [binaries.join("pause.tar"), binaries.join("coredns.tar")]
}

/// Makes the archives from the programs beside them.
pub(crate) fn write_images(binaries: &Path) -> Result<()> {
    for (program, reference) in [("pause", PAUSE), ("coredns", COREDNS)] {
        let mut tree = Tree::new();
        tree.program(program, &binaries.join(program));
        let configuration = Configuration {
            references: vec![reference.to_owned()],
            entrypoint: vec![format!("/{program}")],
            ..Configuration::default()
        };
        image::write(
            &binaries.join(format!("{program}.tar")),
            &configuration,
            &tree,
        )?;
    }
    Ok(())
}

/// Applies the objects. Can be repeated.
pub(crate) fn apply_objects(directory: &Directory) -> Result<()> {
    apply(directory, MANIFESTS).context("the base objects")
}

/// Applies the standard channel of the Gateway API. Can be repeated.
pub(crate) fn apply_gateway_api(directory: &Directory) -> Result<()> {
    let dir = GATEWAY_API.directory()?.join("config/crd/standard");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .with_context(|| dir.display().to_string())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let texts: Result<Vec<String>> = files
        .iter()
        .map(|file| crate::process::read(file))
        .collect();
    apply(directory, &texts?.join("\n---\n")).context("the Gateway API")
}
