//! Pods that run already: where their namespaces and cgroups are on this node.
//! In: pod uids, the host's proc, the cgroup2 mount. Out: namespaces, cgroup directories.
//! Owns nothing. Must not happen here: a namespace taken for a pod's that does not have the pod's address.
//! Spec: kubelet's cgroup names of both drivers (cgroupfs, systemd), proc(5), cgroups(7).

pub mod cgroup_tree;
pub mod finder;
pub mod pod_cgroup;
pub mod processes;
