//! Which lab is meant: the named one, or the only one that runs.

use ambit_harness::lab::LabFile;
use ambit_harness::names::labs_dir;
use anyhow::Context as _;

/// Every lab that has a description.
pub(crate) fn all() -> Vec<LabFile> {
    let entries = std::fs::read_dir(labs_dir())
        .into_iter()
        .flatten()
        .flatten();
    let files = entries
        .map(|entry| entry.path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"));
    files
        .filter_map(|path| LabFile::read_path(&path).ok())
        .collect()
}

/// The lab called `name`, or the only one.
pub(crate) fn one(name: Option<&str>) -> anyhow::Result<LabFile> {
    let mut labs = all();
    if let Some(name) = name {
        labs.retain(|lab| lab.name == name);
        return labs
            .pop()
            .with_context(|| format!("no lab {name:?} is running"));
    }
    match labs.len() {
        0 => anyhow::bail!(
            "no lab is running; `ambit-lab up` or `cargo xtask demo --keep` brings one up"
        ),
        1 => labs.pop().context("one lab"),
        _ => anyhow::bail!(
            "several labs are running: {}; name one",
            labs.iter()
                .map(|lab| lab.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}
