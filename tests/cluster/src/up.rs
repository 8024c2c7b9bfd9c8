//! Bringing a cluster up.
//! In: a state directory, programs, a number of nodes. Out: a cluster whose nodes and DNS are ready.
//! Every step looks at what is there first: on a cluster that is up nothing changes, of a half-made one
//! the rest is made, a part that died is started again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use crate::binaries::Binaries;
use crate::cgroups::{self, Hierarchies};
use crate::names::{NodeNumber, Role};
use crate::progress::say;
use crate::state::{Composition, Directory, Shape};
use crate::{base, configuration, network, pki, preflight, process, readiness, sweep};

/// The program whose command line leads to [`crate::init::outside`]: `<program> <arguments> <role> <state>`.
#[derive(Clone, Debug)]
pub struct Init {
    /// An executable
    pub program: PathBuf,
    /// Words before role and state directory
    pub arguments: Vec<OsString>,
}

/// Brings the cluster up.
///
/// # Errors
/// What is missing on the machine, what did not become ready, a cluster of that name with other nodes.
pub fn up(directory: &Directory, binaries: &Binaries, shape: &Shape, init: &Init) -> Result<()> {
    preflight::machine()?;
    process::directory(directory.path())?;
    let _held = directory.lock()?;
    compose(directory, binaries, shape)?;
    pki::make(directory, &shape.nodes)?;
    let network = directory.path().join("network");
    let roles = directory.roles()?;
    if !network.exists() && roles.iter().all(|role| directory.running(*role).is_none()) {
        network::remove(directory.name())?;
        network::make(directory.name(), shape)?;
        process::write(&network, "")?;
    }
    let since = Timestamp::now();
    let mut started = Vec::new();
    for role in roles {
        if directory.running(role).is_none() {
            start(directory, role, init)?;
            started.push(role);
        }
    }
    readiness::api(directory)?;
    say("the API server is ready");
    base::apply_objects(directory)?;
    base::apply_gateway_api(directory)?;
    for node in &shape.nodes {
        // One that was running has said so at some time.
        let since = if started.contains(&Role::Node(*node)) {
            since
        } else {
            Timestamp::UNIX_EPOCH
        };
        readiness::node(directory, *node, since)?;
    }
    say(&format!("{} nodes are ready", shape.nodes.len()));
    readiness::rollout(directory, "kube-system", "deployment/coredns")?;
    say(&format!("DNS is ready; {}", configuration::describe()));
    Ok(())
}

/// Says what the cluster is made of, or checks it against what is there. What a lost state directory left
/// behind is removed first.
fn compose(directory: &Directory, binaries: &Binaries, shape: &Shape) -> Result<()> {
    let name = directory.name();
    match directory.composition()? {
        Some(there) if there.shape != *shape => bail!(
            "cluster {name} has {} nodes{}, or other options of its API server; `cargo xtask cluster down --name {name}` first",
            there.shape.nodes.len(),
            if there.shape.dual_stack {
                " with both address families"
            } else {
                ""
            }
        ),
        Some(there) if there.binaries != binaries.dir() => say(
            "the programs were built anew since this cluster was made; it keeps the old ones until `down`",
        ),
        Some(_) => {}
        None => {
            sweep::all(directory)?;
            directory.compose(&Composition {
                name: name.clone(),
                shape: shape.clone(),
                binaries: binaries.dir().to_owned(),
            })?;
        }
    }
    Ok(())
}

/// Ends everything on a node, as a power cut would.
///
/// # Errors
/// Processes that do not end.
pub fn kill_node(directory: &Directory, node: NodeNumber) -> Result<()> {
    let _held = directory.lock()?;
    let role = Role::Node(node);
    sweep::end(directory, role)?;
    for group in Hierarchies::find()?.left(directory.name()) {
        if group.ends_with(directory.name().of(role)) {
            cgroups::empty(&group)?;
        }
    }
    Ok(())
}

/// Starts a node that was killed, and waits until it is ready.
///
/// # Errors
/// What kept it from becoming ready.
pub fn start_node(directory: &Directory, node: NodeNumber, init: &Init) -> Result<()> {
    let _held = directory.lock()?;
    let since = Timestamp::now();
    if directory.running(Role::Node(node)).is_some() {
        say(&format!("{node} runs already"));
        return Ok(());
    }
    start(directory, Role::Node(node), init)?;
    readiness::node(directory, node, since)
}

fn start(directory: &Directory, role: Role, init: &Init) -> Result<()> {
    let mut command = Command::new(&init.program);
    command
        .args(&init.arguments)
        .arg(role.to_string())
        .arg(directory.path());
    process::output(&mut command)
        .with_context(|| format!("start {role}"))
        .map(drop)
}
