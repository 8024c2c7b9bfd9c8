//! What people get who install with kustomize.
//! In: `kubectl kustomize` of a profile's directory, `ambit manifest generate`. Out: nothing, or an object that the
//! two have differently. An empty list or map says the same as none.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ambit_cluster::Binaries;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::output;
use crate::saw;

const PROFILES: [&str; 4] = ["ambient", "default", "demo", "minimal"];

/// Compares every profile.
///
/// # Errors
/// A profile that cannot be built, or an object that differs.
pub fn same_as_ambit() -> Result<()> {
    let binaries = Binaries::cached()?.context("Kubernetes is built")?;
    let test = std::env::current_exe().context("find this program")?;
    // <target>/<profile>/deps/<test>
    let programs = test.ancestors().nth(2).context("a build directory")?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kustomize");
    for profile in PROFILES {
        let mut kubectl = Command::new(binaries.dir().join("kubebox"));
        kubectl.args(["kubectl", "kustomize"]);
        let built = objects(&output(kubectl.arg(directory.join(profile)))?)?;
        let mut ambit = Command::new(programs.join("ambit"));
        ambit.args(["manifest", "generate", "--profile", profile]);
        let generated = objects(&output(&mut ambit)?)?;
        ensure!(
            built.keys().eq(generated.keys()) && !built.is_empty(),
            "{profile}: kustomize has {:?}, ambit {:?}",
            built.keys(),
            generated.keys()
        );
        for (key, object) in &built {
            ensure!(
                *object == generated[key],
                "{profile}, {key}: kustomize has {object}, ambit {}",
                generated[key]
            );
        }
        saw(&format!("{profile}: {} objects, the same", built.len()));
    }
    Ok(())
}

/// Objects by kind, namespace and name.
fn objects(yaml: &str) -> Result<BTreeMap<String, Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("read YAML")?;
    let named = documents.into_iter().map(|mut object| {
        prune(&mut object);
        let (kind, meta) = (&object["kind"], &object["metadata"]);
        let key = format!("{kind} {} {}", meta["namespace"], meta["name"]);
        (key, object)
    });
    Ok(named.collect())
}

/// Takes away what says nothing.
fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune);
        map.retain(|_, value| !says_nothing(value));
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(prune);
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
