//! What a waypoint does with requests to reviews: VirtualService, DestinationRule, HTTPRoute and GRPCRoute files
//! decide, statuses and metrics say so.

#[path = "routing/actions.rs"]
mod actions;
#[path = "routing/case.rs"]
mod case;
#[path = "routing/documents.rs"]
mod documents;
#[path = "routing/grpc_route.rs"]
mod grpc_route;
#[path = "routing/http_route.rs"]
mod http_route;
#[path = "routing/matches.rs"]
mod matches;
#[path = "routing/metrics.rs"]
mod metrics;
#[path = "routing/stage.rs"]
mod stage;

use anyhow::{Result, ensure};
use stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told_apart_by_every_field_of_a_match() -> Result<()> {
    let Some(stage) = Stage::up("matches").await? else {
        return Ok(());
    };
    let mut cases = matches::paths();
    cases.extend(matches::others());
    cases.extend(matches::rest());
    let wrong = case::run(&stage, cases).await?;
    stage.lab.down().await;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_send_change_copy_answer_delay_break_and_repeat_requests() -> Result<()> {
    let Some(stage) = Stage::up("actions").await? else {
        return Ok(());
    };
    let mut cases = actions::destinations();
    cases.extend(actions::rewrites());
    cases.extend(actions::answers());
    cases.extend(actions::headers());
    cases.extend(actions::resilience());
    cases.extend(actions::limits());
    cases.extend(actions::faults());
    let wrong = case::run(&stage, cases).await?;
    stage.lab.down().await;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
