//! Installing with kustomize.

use ambit_kubernetes_tests::{can_run, kustomize};
use anyhow::Result;

#[test]
fn kustomize_builds_what_ambit_generates() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    kustomize::same_as_ambit()
}
