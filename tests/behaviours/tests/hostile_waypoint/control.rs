//! What comes from the controller's place and is no message, or no resource, to a waypoint.

use crate::siege::{Siege, siege};
use crate::stage::{REVIEWS, SOON};
use crate::stand_in::{StandIn, backs_off, endless, framed, garbage, settled};
use ambit_api::discovery::{DeltaDiscoveryResponse, Resource};
use ambit_api::type_urls;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::lab::DaemonKind;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use prost_types::Any;
use tokio::time::Instant;

/// Streams the waypoint opens in vain before the controller is back. Each brings enough that a round would
/// show if half of what came were kept.
const IN_VAIN: f64 = 6.0;
/// Streams that ended with an error.
const ENDED: &str = "istio_xds_connection_terminations_total";
/// Resources that could not be used.
const REFUSED: &str = "ambit_xds_resources_refused_total";

/// What the waypoint has counted.
async fn counted(siege: &Siege, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    Ok(siege.stage.metrics().await?.sum(name, labels))
}

/// Waits until it has counted `by` more than `before`.
async fn grows(
    siege: &Siege,
    (name, labels): (&str, &[(&str, &str)]),
    before: f64,
    by: f64,
) -> Result<()> {
    until(name, SOON, || async {
        match counted(siege, name, labels).await {
            Ok(now) if now >= before + by => Ok(()),
            other => Err(format!("{other:?}, {before} before, {by} expected")),
        }
    })
    .await?;
    Ok(())
}

/// The waypoint hears `bytes` in place of its controller. Returns once `heard` says so, requests on new
/// connections were answered, and the waypoint has followed the real controller again.
async fn lied_to(
    siege: &Siege,
    bytes: Vec<u8>,
    round: usize,
    heard: impl AsyncFnOnce(&StandIn) -> Result<()>,
) -> Result<()> {
    let stage = &siege.stage;
    let controller = stage.lab.daemon(DaemonKind::Controller);
    let controller = controller.context("a controller")?.clone();
    controller.kill().await;
    let liar = StandIn::answering(&stage.lab, bytes).await?;
    heard(&liar).await?;
    let answers = stage
        .client(&["-n", "20", &format!("{REVIEWS}/reviews/0")])
        .await?;
    ensure!(answers.ok() == 20, "{answers:?}");
    liar.leaves().await;
    controller.start().await?;
    stage.lab.daemon_ready(&controller).await?;
    let rules = "    - route: [{destination: {host: reviews}}]\n";
    stage.rules(&format!("after-{round}"), rules).await
}

/// A waypoint that hears only `bytes` counts and logs it, comes back ever more slowly and keeps nothing of it.
async fn hears_what_is_no_message(bytes: Vec<u8>, area: &str, named: &str) -> Result<()> {
    let Some(siege) = siege(area).await? else {
        return Ok(());
    };
    let mut round = 0;
    siege
        .withstands(async |siege| {
            round += 1;
            let ended = (ENDED, &[("reason", "Error")][..]);
            let before = counted(siege, ended.0, ended.1).await?;
            let logged = siege.log()?.len();
            lied_to(siege, bytes.clone(), round, async |liar| {
                // The kill itself has ended one.
                grows(siege, ended, before, 1.0 + IN_VAIN).await?;
                backs_away(siege, liar, logged, named).await
            })
            .await?;
            settled(Instant::now()).await
        })
        .await
}

/// The waypoint has logged, after the first `before` bytes, what it heard and ever longer waits.
async fn backs_away(siege: &Siege, liar: &StandIn, before: usize, named: &str) -> Result<()> {
    let words = [
        "xds stream failed",
        "a message of the xds server cannot be read",
        named,
    ];
    siege.logged_since(before, &words).await?;
    let (name, _) = siege.stage.waypoint()?;
    let ip = siege.stage.lab.pod_address(BOOKINFO, &name);
    let streams = liar.asked_by(ip.context("an address")?.into());
    ensure!(streams > 0, "the waypoint has not asked");
    backs_off(&siege.log()?, before, streams)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_sends_garbage_changes_nothing() -> Result<()> {
    let named = "failed to decode Protobuf message";
    hears_what_is_no_message(garbage(), "wpgarbage", named).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_controller_without_end_changes_nothing() -> Result<()> {
    hears_what_is_no_message(endless(), "wpendless", "message length too large").await
}

/// A response with a resource that cannot be decoded, in the place of the one that requests are routed by,
/// one without a body and one of another type.
fn of_no_use(type_url: &str, name: &str) -> Vec<u8> {
    let resource = |name: &str, body: Option<(&str, &[u8])>| Resource {
        name: name.to_owned(),
        version: "1".to_owned(),
        resource: body.map(|(type_url, value)| Any {
            type_url: type_url.to_owned(),
            value: value.to_vec(),
        }),
        ..Resource::default()
    };
    framed(&DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: "1".to_owned(),
        resources: vec![
            resource(name, Some((type_url, &[0xff; 40]))),
            resource("bodiless", None),
            resource("stranger", Some(("type.googleapis.com/nothing", b""))),
        ],
        ..DeltaDiscoveryResponse::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_of_no_use_are_refused_by_name_and_the_ones_in_their_place_stay() -> Result<()> {
    let Some(siege) = siege("wpuseless").await? else {
        return Ok(());
    };
    let (service, port) = ("bookinfo/reviews.bookinfo.svc.cluster.local", 9080);
    let router = format!("{BOOKINFO}/reviews-waypoint/{service}/{port}");
    let mut bytes = of_no_use(type_urls::ROUTER, &router);
    bytes.extend(of_no_use(type_urls::CLUSTER, "cluster"));
    bytes.extend(of_no_use(type_urls::ENDPOINTS, "endpoints"));
    bytes.extend(of_no_use(type_urls::GATEWAY, "bookinfo/reviews-waypoint"));
    bytes.extend(of_no_use(type_urls::ADDRESS, "address"));
    let unasked = |n: usize| of_no_use(&format!("type.googleapis.com/{n}"), "unasked");
    bytes.extend((0..1000).flat_map(unasked));
    let mut round = 0;
    siege
        .withstands(async |siege| {
            round += 1;
            let refused = (REFUSED, &[][..]);
            let before = counted(siege, refused.0, refused.1).await?;
            let others = ("istio_xds_message_total", &[("url", "other")][..]);
            let unasked = counted(siege, others.0, others.1).await?;
            let logged = siege.log()?.len();
            lied_to(siege, bytes.clone(), round, async |_| {
                grows(siege, refused, before, 15.0).await?;
                grows(siege, others, unasked, 1000.0).await?;
                for (name, reason) in [
                    (router.as_str(), "cannot be decoded"),
                    ("bodiless", "has no body"),
                    ("stranger", "is a type.googleapis.com/nothing"),
                ] {
                    let words = ["resource refused", name, reason];
                    siege.logged_since(logged, &words).await?;
                }
                Ok(())
            })
            .await
        })
        .await
}
