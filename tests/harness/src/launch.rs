//! The last step before a program of the lab runs: `ambit-lab launch … -- PROGRAM ARGS`.
//! In: where to run (cgroup, network namespace, resolver file, parent). Out: the program,
//! dying with the lab.
//! Owns: this process, which is single-threaded until it becomes the program.
//! Never here: anything after `exec`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Where and how to run a program.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Place {
    /// Network namespace to enter
    #[arg(long)]
    pub netns: Option<PathBuf>,
    /// cgroup2 directory to join
    #[arg(long)]
    pub cgroup: Option<PathBuf>,
    /// File to see as /etc/resolv.conf, in a mount namespace of its own
    #[arg(long)]
    pub resolv: Option<PathBuf>,
    /// Process whose end ends the program
    #[arg(long)]
    pub parent: Option<i32>,
}

/// Moves this process to its place and becomes `program`. Returns only on failure.
///
/// # Errors
/// The step that failed, with its path.
pub fn exec(place: &Place, program: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    if let Some(parent) = place.parent {
        prctl::set_pdeathsig(Signal::SIGKILL).context("parent death signal")?;
        anyhow::ensure!(
            getppid() == Pid::from_raw(parent),
            "the lab ended before its program started"
        );
    }
    if let Some(cgroup) = &place.cgroup {
        let procs = cgroup.join("cgroup.procs");
        fs::write(&procs, "0").with_context(|| procs.display().to_string())?;
    }
    if let Some(resolv) = &place.resolv {
        own_resolver(resolv)?;
    }
    if let Some(netns) = &place.netns {
        let file = fs::File::open(netns).with_context(|| netns.display().to_string())?;
        setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| netns.display().to_string())?;
    }
    let (name, args) = program.split_first().context("no program")?;
    let error = Command::new(name).args(args).exec();
    Err(error).with_context(|| Path::new(name).display().to_string())
}

fn own_resolver(resolv: &Path) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("own mount namespace")?;
    // Slave, so that namespaces removed outside are let go here too.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
    .context("mount propagation")?;
    let target = fs::canonicalize("/etc/resolv.conf").context("/etc/resolv.conf")?;
    mount(
        Some(resolv),
        &target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .with_context(|| format!("{} over {}", resolv.display(), target.display()))
}
