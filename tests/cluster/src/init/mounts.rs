//! What a node sees of the file system: its own `/proc`, `/sys`, control groups, bpffs, `/run`, and
//! `/etc`, `/var`, `/opt` that start as the machine's and diverge.
//! In: a directory for what diverges. Out: mounts in this process's mount namespace, gone with it.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};

use crate::cgroups::{self, Hierarchies};
use crate::configuration::SYSCTLS;
use crate::process;

/// Directories that start as the machine's.
const COPIED: [&str; 3] = ["etc", "var", "opt"];

/// Cuts this mount namespace off the machine's, so that nothing below is seen outside.
pub(super) fn detach() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("make mounts private")
}

/// A `/proc` of this process namespace.
pub(super) fn proc() -> Result<()> {
    fresh("proc", Path::new("/proc"), None)
}

/// Everything else a node has. `hierarchies` is what the machine had before.
pub(super) fn node(own: &Path, hierarchies: &Hierarchies) -> Result<()> {
    proc()?;
    fresh("sysfs", Path::new("/sys"), None)?;
    control_groups(hierarchies)?;
    fresh("bpf", Path::new("/sys/fs/bpf"), Some("mode=700"))?;
    for (key, value) in SYSCTLS {
        let file = own.join("sysctls").join(key.replace('/', "."));
        process::write(&file, format!("{value}\n"))?;
        bind(&file, &Path::new("/proc/sys").join(key))?;
    }
    for name in COPIED {
        overlay(name, &own.join("overlay"))?;
    }
    // The snapshots of containerd cannot lie on an overlay.
    for name in ["containerd", "kubelet"] {
        let (from, to) = (own.join(name), Path::new("/var/lib").join(name));
        process::directory(&from)?;
        process::directory(&to)?;
        bind(&from, &to)?;
    }
    fresh("tmpfs", Path::new("/run"), Some("mode=755"))?;
    // kubelet needs mounts to travel between pods and node; the namespace keeps them from the machine.
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("share mounts inside the node")
}

/// Mounts the hierarchies anew: in the cgroup namespace each shows the node's group as its root.
fn control_groups(hierarchies: &Hierarchies) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    if !hierarchies.hybrid() {
        fresh("cgroup2", root, None)?;
        // A group with processes of its own cannot have controlled children.
        let leaf = root.join("init");
        process::directory(&leaf)?;
        cgroups::enter(&leaf)?;
        return cgroups::delegate(root);
    }
    fresh("tmpfs", root, Some("mode=755"))?;
    for hierarchy in hierarchies.all() {
        let name = hierarchy
            .mount
            .file_name()
            .context("a hierarchy has a name")?;
        let place = root.join(name);
        process::directory(&place)?;
        if hierarchy.is_v2() {
            fresh("cgroup2", &place, None)?;
            continue;
        }
        fresh("cgroup", &place, Some(&hierarchy.options))?;
        for controller in hierarchy
            .options
            .split(',')
            .filter(|_| !hierarchy.options.starts_with("none,"))
        {
            let link = root.join(controller);
            if !link.exists() {
                std::os::unix::fs::symlink(name, &link)
                    .with_context(|| link.display().to_string())?;
            }
        }
    }
    Ok(())
}

fn overlay(name: &str, own: &Path) -> Result<()> {
    let (upper, work) = (own.join(name), own.join(format!("{name}-work")));
    process::directory(&upper)?;
    process::directory(&work)?;
    let target = Path::new("/").join(name);
    let options = format!(
        "lowerdir=/{name},upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    fresh("overlay", &target, Some(&options))
}

fn fresh(kind: &str, target: &Path, options: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mount {kind} at {}", target.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("bind {} to {}", from.display(), to.display()))
}
