//! `ambit-lab exec NAMESPACE/POD -- COMMAND`: becomes the command, in the pod.

use std::ffi::OsString;

use ambit_harness::launch::Place;
use anyhow::Context as _;

use super::find;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Lab; the only one if not given
    #[arg(long)]
    lab: Option<String>,
    /// `namespace/name`, or `name` in `default`
    pod: String,
    /// Command; `bookinfo` is the sample's program
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let lab = find::one(args.lab.as_deref())?;
    let (namespace, name) = args.pod.split_once('/').unwrap_or(("default", &args.pod));
    let pod = lab
        .pods
        .iter()
        .find(|pod| pod.namespace == namespace && pod.name == name);
    let pod = pod.with_context(|| format!("no pod {namespace}/{name} in lab {}", lab.name))?;
    anyhow::ensure!(
        pod.netns.is_some(),
        "{namespace}/{name} does not run: {}",
        pod.message
    );
    let place = Place {
        netns: pod.netns.clone(),
        cgroup: pod.cgroup.clone(),
        resolv: pod.resolv.clone(),
        parent: None,
    };
    let own = std::env::current_exe()?;
    let bookinfo = own.with_file_name("bookinfo");
    let mut command = args.command.clone();
    if command.first().is_some_and(|program| program == "bookinfo") {
        command[0] = bookinfo.into();
    }
    // A process of its own: this one has threads, which a mount namespace cannot be given to.
    let mut launch = std::process::Command::new(own);
    launch.arg("launch");
    for (flag, value) in [
        ("--netns", place.netns),
        ("--cgroup", place.cgroup),
        ("--resolv", place.resolv),
    ] {
        if let Some(value) = value {
            launch.arg(flag).arg(value);
        }
    }
    let error = std::os::unix::process::CommandExt::exec(launch.arg("--").args(command));
    Err(error).context("launch")
}
