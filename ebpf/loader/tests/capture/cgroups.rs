//! A cgroup subtree for this process, with threads of it in children.
//!
//! In: nothing. Out: a thread is in the child it asks for. Owns the subtree; dropping it moves the
//! process back to where it was and removes the directories.

use ambit_ebpf_loader::{CgroupRef, cgroup2_mount};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Cgroups {
    pub(crate) root: PathBuf,
    mount: PathBuf,
    home: PathBuf,
    children: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes `<mount>/<name>` with `children` (parents before their children) in it.
    pub(crate) fn new(name: &str, children: &[&str]) -> Self {
        let mount = cgroup2_mount().unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .unwrap();
        let home = mount.join(own.trim_start_matches('/'));
        let root = mount.join(name);
        fs::create_dir(&root).unwrap();
        let mut this = Self {
            root,
            mount,
            home,
            children: Vec::new(),
        };
        fs::write(
            this.root.join("cgroup.procs"),
            std::process::id().to_string(),
        )
        .unwrap();
        for child in children {
            let path = this.root.join(child);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("cgroup.type"), "threaded").unwrap();
            this.children.push(path);
        }
        this
    }

    /// Moves the calling thread into a child.
    pub(crate) fn join(&self, child: &str) {
        // SAFETY: no arguments, cannot fail.
        let thread = unsafe { libc::gettid() };
        fs::write(
            self.root.join(child).join("cgroup.threads"),
            thread.to_string(),
        )
        .unwrap();
    }

    pub(crate) fn reference(&self, child: &str) -> CgroupRef {
        CgroupRef::of(&self.root.join(child), &self.mount).unwrap()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = fs::write(
            self.home.join("cgroup.procs"),
            std::process::id().to_string(),
        );
        for path in self.children.iter().rev() {
            remove(path);
        }
        remove(&self.root);
    }
}

/// A thread that has just been joined may still be listed for a moment.
fn remove(path: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while let Err(error) = fs::remove_dir(path) {
        if error.raw_os_error() != Some(libc::EBUSY) || std::time::Instant::now() > deadline {
            eprintln!("cannot remove {}: {error}", path.display());
            return;
        }
        std::thread::yield_now();
    }
}
