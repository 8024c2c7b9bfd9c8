//! Control groups of the parts of a cluster.
//! In: the machine's hierarchies. Out: one group per part and hierarchy; a part joins its groups before it
//! enters a cgroup namespace, so that inside they look like the root.
//! Owns: groups called `kb-<name>-…`. Groups of the machine are only read.
//! Spec: cgroups(7), cgroup_namespaces(7).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::names::{ClusterName, Role};
use crate::process;

/// How long dying processes may hold a group.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// How deep groups of clusters are looked for: sessions of users are four below the root.
const DEPTH: u8 = 6;
/// Controllers that kubelet cannot do without (version 2).
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted
    pub(crate) mount: PathBuf,
    /// What to say to mount it again: `cpu,cpuacct`, `none,name=systemd`; empty for cgroup2
    pub(crate) options: String,
    /// The group in which groups of parts are made
    parent: PathBuf,
}

impl Hierarchy {
    pub(crate) fn is_v2(&self) -> bool {
        self.options.is_empty()
    }
}

/// How the machine's hierarchies are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Reads what is mounted.
    pub(crate) fn find() -> Result<Self> {
        let mounts = process::read(Path::new("/proc/self/mountinfo"))?;
        let own = process::read(Path::new("/proc/self/cgroup"))?;
        Self::parse(&mounts, &own)
    }

    /// From `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn parse(mounts: &str, own: &str) -> Result<Self> {
        let mut found: Vec<Hierarchy> = Vec::new();
        let mut v2 = None;
        for line in mounts.lines() {
            let Some((mount, kind, controllers)) = cgroup_mount(line) else {
                continue;
            };
            if kind == "cgroup2" {
                v2.get_or_insert(PathBuf::from(mount));
            } else if !found.iter().any(|h| h.options == controllers) {
                let parent = own_group(own, &controllers).unwrap_or_default();
                let mount = PathBuf::from(mount);
                let parent = mount.join(parent.trim_start_matches('/'));
                found.push(Hierarchy {
                    mount,
                    options: controllers,
                    parent,
                });
            }
        }
        let Some(mount) = v2 else {
            bail!("no cgroup2 hierarchy is mounted (looked in /proc/self/mountinfo)");
        };
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        if found.is_empty() != (mount != hybrid) {
            bail!(
                "cgroup2 is at {}; with version 1 beside it the programs of a node look for it at {} only",
                mount.display(),
                hybrid.display()
            );
        }
        // On version 2 alone a group with processes cannot have controlled children, except the root.
        let own = if found.is_empty() {
            String::new()
        } else {
            own_group(own, "").unwrap_or_default()
        };
        let parent = mount.join(own.trim_start_matches('/'));
        found.push(Hierarchy {
            mount,
            options: String::new(),
            parent,
        });
        Ok(Self(found))
    }

    /// Every hierarchy.
    pub(crate) fn all(&self) -> &[Hierarchy] {
        &self.0
    }

    /// Whether version 1 hierarchies hold the controllers.
    pub(crate) fn hybrid(&self) -> bool {
        self.0.len() > 1
    }

    /// Groups that a part joins: a node in every hierarchy, the control plane in cgroup2 only, where
    /// all of its processes can be ended at once.
    fn groups(&self, name: &ClusterName, role: Role) -> Vec<PathBuf> {
        let wanted = |h: &&Hierarchy| h.is_v2() || matches!(role, Role::Node(_));
        self.0
            .iter()
            .filter(wanted)
            .map(|h| h.parent.join(name.of(role)))
            .collect()
    }

    /// Makes the groups of a part and moves this process into them.
    pub(crate) fn join(&self, name: &ClusterName, role: Role) -> Result<()> {
        if let [only] = self.0.as_slice() {
            delegate(&only.parent)?;
        }
        self.groups(name, role)
            .iter()
            .try_for_each(|group| join(group))
    }

    /// Every group of the cluster that is there, whoever made it and from wherever.
    pub(crate) fn left(&self, name: &ClusterName) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for hierarchy in &self.0 {
            search(&hierarchy.mount, &name.prefix(), DEPTH, &mut left);
        }
        left
    }
}

/// Mount point, kind and controllers, if the line mounts control groups with their root.
fn cgroup_mount(line: &str) -> Option<(&str, &str, String)> {
    let (left, right) = line.split_once(" - ")?;
    let mount = left.split_whitespace().nth(4)?;
    let mut right = right.split_whitespace();
    let kind = right.next()?;
    let options = right.nth(1)?;
    match kind {
        "cgroup2" => Some((mount, kind, String::new())),
        "cgroup" => {
            let skipped = ["rw", "ro", "xattr", "clone_children"];
            let kept = options
                .split(',')
                .filter(|o| !skipped.contains(o) && !o.starts_with("release_agent"));
            let controllers = kept.collect::<Vec<_>>().join(",");
            let named = controllers.starts_with("name=");
            Some((
                mount,
                kind,
                if named {
                    format!("none,{controllers}")
                } else {
                    controllers
                },
            ))
        }
        _ => None,
    }
}

/// This process's group in the hierarchy with these controllers.
fn own_group(own: &str, controllers: &str) -> Option<String> {
    let controllers = controllers.strip_prefix("none,").unwrap_or(controllers);
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        (parts.next()? == controllers).then(|| parts.next().unwrap_or_default().to_owned())
    })
}

/// Groups whose name begins so, at most so deep.
fn search(dir: &Path, prefix: &str, depth: u8, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
    {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        } else if depth > 1 {
            search(&entry.path(), prefix, depth - 1, found);
        }
    }
}

/// Makes the group, empty, and moves this process into it.
fn join(group: &Path) -> Result<()> {
    process::directory(group)?;
    // kubelet takes seconds for each group of a former life's pods.
    empty(group)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = group.parent().map(|parent| parent.join(file));
        if let Some(from) = inherited.filter(|_| group.join(file).exists())
            && let Ok(value) = std::fs::read_to_string(&from)
            && !value.trim().is_empty()
        {
            std::fs::write(group.join(file), value).with_context(|| from.display().to_string())?;
        }
    }
    enter(group)
}

/// Moves this process into a group.
pub(crate) fn enter(group: &Path) -> Result<()> {
    let file = group.join("cgroup.procs");
    std::fs::write(&file, "0").with_context(|| format!("join {}", group.display()))
}

/// Lets the groups below a group be controlled (version 2).
pub(crate) fn delegate(group: &Path) -> Result<()> {
    let file = group.join("cgroup.subtree_control");
    for controller in process::read(&group.join("cgroup.controllers"))?.split_whitespace() {
        let enabled = std::fs::write(&file, format!("+{controller}"));
        if NEEDED.contains(&controller) {
            enabled.with_context(|| format!("enable {controller} in {}", file.display()))?;
        }
    }
    Ok(())
}

/// Ends every process of a group and of those below, as far as the hierarchy can.
pub(crate) fn kill(group: &Path) {
    let all_at_once = group.join("cgroup.kill");
    if all_at_once.exists() {
        // Gone meanwhile is as good.
        let _ = std::fs::write(all_at_once, "1");
    }
}

/// Removes the groups below a group, waiting for processes that are ending.
pub(crate) fn empty(group: &Path) -> Result<()> {
    until(|| {
        remove_below(group);
        children(group).is_empty()
    })
    .with_context(|| format!("{} still has processes", group.display()))
}

/// Removes a group and those below.
pub(crate) fn remove(group: &Path) -> Result<()> {
    until(|| {
        remove_below(group);
        std::fs::remove_dir(group).is_ok() || !group.exists()
    })
    .with_context(|| format!("{} still has processes", group.display()))
}

fn until(mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + LONGEST_HOLD;
    while !done() {
        if Instant::now() > deadline {
            bail!("waited {LONGEST_HOLD:?}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn remove_below(group: &Path) {
    for child in children(group) {
        remove_below(&child);
        // Busy groups are tried again by the caller.
        let _ = std::fs::remove_dir(&child);
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(group) else {
        return Vec::new();
    };
    let directories = entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests;
