//! A cluster of its own from `up` to `down`, by the commands that people type.
//! Needs root and a built Kubernetes; says so and, where `CI` is set, fails without them.

use std::path::Path;
use std::process::Command;

/// Runs `cargo xtask cluster … --name <name>`; panics with its output if it fails.
fn cluster(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["cluster", "--name", name])
        .args(arguments)
        .output()
        .expect("xtask runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cluster {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Takes the cluster down also when the test fails.
struct Cluster(String);

impl Drop for Cluster {
    fn drop(&mut self) {
        // The test itself has said what is wrong.
        let _ = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["cluster", "--name", &self.0, "down"])
            .output();
    }
}

/// Why a cluster cannot be made here; where `CI` is set, a failure.
fn impossible(name: &str) -> Option<&'static str> {
    if std::env::var_os("AMBIT_KUBERNETES").is_some_and(|value| value == "off") {
        return Some("AMBIT_KUBERNETES=off");
    }
    let reason = if nix::unistd::geteuid().is_root() {
        cluster(name, &["status"])
            .contains("is not built")
            .then_some("Kubernetes is not built: `cargo xtask cluster build`")
    } else {
        Some("not root")
    };
    assert!(
        reason.is_none() || std::env::var_os("CI").is_none(),
        "{reason:?}"
    );
    reason
}

/// Network namespaces and control groups that carry the cluster's name.
fn left(name: &str) -> Vec<String> {
    let prefix = format!("kb-{name}-");
    let mut left = Vec::new();
    let mut waiting = vec![
        Path::new("/sys/fs/cgroup").to_owned(),
        Path::new("/run/netns").to_owned(),
    ];
    while let Some(dir) = waiting.pop() {
        // Other tests' groups come and go.
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                left.push(entry.path().display().to_string());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    left
}

fn sysctls() -> Vec<String> {
    [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
    ]
    .map(|key| std::fs::read_to_string(format!("/proc/sys/{key}")).unwrap_or_default())
    .to_vec()
}

#[test]
fn a_cluster_comes_up_works_survives_the_loss_of_a_node_and_leaves_nothing() {
    let name = format!("t{}", std::process::id());
    if let Some(reason) = impossible(&name) {
        println!("not run: {reason}");
        return;
    }
    let before = sysctls();
    let guard = Cluster(name.clone());
    cluster(&name, &["up", "--nodes", "2", "--dual-stack"]);
    cluster(&name, &["up", "--nodes", "2", "--dual-stack"]);
    cluster(&name, &["smoke"]);
    let crds = cluster(&name, &["kubectl", "get", "crd", "--output=name"]);
    assert!(
        crds.contains("gateways.gateway.networking.k8s.io"),
        "{crds}"
    );
    cluster(&name, &["node", "kill", "n2"]);
    assert!(cluster(&name, &["status"]).contains("n2: not running"));
    cluster(&name, &["node", "start", "n2"]);
    cluster(
        &name,
        &[
            "kubectl",
            "wait",
            "--for=condition=Ready",
            "node/n2",
            "--timeout=60s",
        ],
    );
    cluster(&name, &["exec", "--node", "n2", "--", "/bin/true"]);
    cluster(&name, &["down"]);
    assert_eq!(left(&name), Vec::<String>::new());
    assert_eq!(sysctls(), before, "the machine's own settings");
    assert!(cluster(&name, &["status"]).contains("is not up"));
    cluster(&name, &["down"]);
    drop(guard);
}
