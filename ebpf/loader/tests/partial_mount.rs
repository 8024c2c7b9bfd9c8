//! A mount that shows only a part of the cgroup2 hierarchy, as a node has whose machine is a container.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must panic")]

use ambit_ebpf_loader::{CgroupError, CgroupRef, cgroup2_mount, cgroup2_mount_of};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::PathBuf;

/// A subtree, seen a second time through a bind mount; this process is moved back when it goes.
struct Part {
    whole: PathBuf,
    home: PathBuf,
    mount: tempfile::TempDir,
}

impl Part {
    fn make() -> Self {
        let root = cgroup2_mount().unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let part = Self {
            whole: root.join(format!("ambit-loader-part-{}", std::process::id())),
            home: root.join(own.unwrap()),
            mount: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(part.whole.join("pods/us")).unwrap();
        let none = None::<&str>;
        mount(
            Some(&part.whole),
            part.mount.path(),
            none,
            MsFlags::MS_BIND,
            none,
        )
        .unwrap();
        part
    }

    fn enter(&self, cgroup: &std::path::Path) {
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.enter(&self.home);
        let _ = umount2(self.mount.path(), MntFlags::MNT_DETACH);
        for child in ["pods/us", "pods", ""] {
            let _ = fs::remove_dir(self.whole.join(child));
        }
    }
}

#[test]
fn depths_are_counted_from_the_real_root_once_this_process_is_inside() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("cannot run: needs root for cgroups and eBPF");
        return;
    }
    let part = Part::make();
    let shown = part.mount.path().canonicalize().unwrap();
    let pods = shown.join("pods");
    assert_eq!(cgroup2_mount_of(&pods).unwrap(), shown);
    assert!(matches!(
        CgroupRef::of(&pods, &shown),
        Err(CgroupError::PartialMount { .. })
    ));
    part.enter(&part.whole.join("pods/us"));
    let whole = CgroupRef::of(&part.whole.join("pods"), &cgroup2_mount().unwrap()).unwrap();
    assert_eq!(CgroupRef::of(&pods, &shown).unwrap(), whole);
    assert_eq!(
        CgroupRef::of(&shown, &shown).unwrap().level,
        whole.level - 1
    );
}
