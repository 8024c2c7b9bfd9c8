//! What the machine says about control groups, and what is made of it.

use super::{Hierarchies, children, remove, search};
use crate::names::{ClusterName, NodeNumber, Role};
use std::path::{Path, PathBuf};

const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 30 0:30 / /mnt/again rw,relatime - cgroup2 cgroup2 rw
";
const OWN: &str = "4:memory:/jobs/7\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";

fn name() -> ClusterName {
    "ambit".parse().unwrap()
}

fn node() -> Role {
    Role::Node(NodeNumber::first(1).unwrap()[0])
}

#[test]
fn beside_version_one_a_node_gets_a_group_in_every_hierarchy() {
    let found = Hierarchies::parse(HYBRID, OWN).unwrap();
    assert!(found.hybrid());
    let options: Vec<&str> = found.all().iter().map(|h| h.options.as_str()).collect();
    assert_eq!(options, ["memory", "cpu,cpuacct", "none,name=systemd", ""]);
    let expected = [
        "/sys/fs/cgroup/memory/jobs/7/kb-ambit-n1",
        "/sys/fs/cgroup/cpu,cpuacct/kb-ambit-n1",
        "/sys/fs/cgroup/systemd/kb-ambit-n1",
        "/sys/fs/cgroup/unified/kb-ambit-n1",
    ];
    assert_eq!(found.groups(&name(), node()), expected.map(PathBuf::from));
    let control_plane = found.groups(&name(), Role::ControlPlane);
    assert_eq!(
        control_plane,
        [PathBuf::from("/sys/fs/cgroup/unified/kb-ambit-cp")]
    );
}

#[test]
fn on_version_two_alone_groups_are_children_of_the_root() {
    let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    let found = Hierarchies::parse(mounts, "0::/user.slice/a.scope\n").unwrap();
    assert!(!found.hybrid());
    let groups = found.groups(&name(), node());
    assert_eq!(groups, [PathBuf::from("/sys/fs/cgroup/kb-ambit-n1")]);
}

#[test]
fn arrangements_that_kubelet_cannot_use_are_refused() {
    assert!(Hierarchies::parse("", OWN).is_err());
    let elsewhere = HYBRID.replace("/sys/fs/cgroup/unified", "/mnt/cgroup2");
    assert!(Hierarchies::parse(&elsewhere, OWN).is_err());
    for broken in [
        "30 24",
        "30 24 0:26 / /x rw - cgroup2",
        " - ",
        "a b c d e - cgroup x",
    ] {
        assert!(Hierarchies::parse(broken, OWN).is_err(), "{broken}");
    }
}

#[test]
fn groups_are_found_by_name_and_removed_from_the_bottom() {
    let root = tempfile::tempdir().unwrap();
    let group = root.path().join("jobs/7/kb-ambit-n1");
    std::fs::create_dir_all(group.join("kubepods/pod1")).unwrap();
    std::fs::create_dir_all(root.path().join("kb-other-n1")).unwrap();
    let mut found = Vec::new();
    search(root.path(), "kb-ambit-", 3, &mut found);
    assert_eq!(found, std::slice::from_ref(&group));
    remove(&group).unwrap();
    assert!(!group.exists());
    assert_eq!(children(Path::new("/nowhere")), Vec::<PathBuf>::new());
}
