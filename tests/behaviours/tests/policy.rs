//! Who may connect.

use ambit_behaviours::{all_held, can_run, joined, report};
use ambit_harness::demo::{Scene, policy};
use anyhow::Result;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_refuses_whoever_has_no_identity_and_the_log_names_policy_and_rule() -> Result<()>
{
    if !can_run() {
        return Ok(());
    }
    let lab = joined("policy").await?;
    let mut report = report();
    policy::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}
