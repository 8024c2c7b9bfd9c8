//! Step 2: a waypoint for reviews; VirtualService files decide where each request goes.

use anyhow::Context as _;

use super::report::{Check, Report};
use super::scene::{BOOKINFO, SOON, Scene};
use crate::client::HttpSummary;
use crate::wait::until;

/// Requests whose split is counted.
const REQUESTS: u64 = 1000;
/// Requests of each user in the header match.
const MATCHED: u64 = 200;
const VERSION: &str = "x-bookinfo-version";
const URL: &str = "http://reviews:9080/reviews/0";

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    report.note("a Gateway of class istio-waypoint; the Service reviews gets the label istio.io/use-waypoint");
    up(scene).await?;
    report.note("cp networking/destination-rule-reviews.yaml networking/virtual-service-reviews-90-10.yaml DIR");
    split_in_force(scene).await?;
    report.check(split(scene).await?);
    report.note("cp networking/virtual-service-reviews-jason-v2-v3.yaml DIR");
    scene.apply_as(
        "virtual-service-reviews",
        "networking/virtual-service-reviews-jason-v2-v3.yaml",
    )?;
    until("the header match in force", SOON, || async {
        let jason = ask(scene, 10, true).await.map_err(|e| format!("{e:#}"))?;
        let other = ask(scene, 10, false).await.map_err(|e| format!("{e:#}"))?;
        let done = jason.header(VERSION, "v2") == 10 && other.header(VERSION, "v3") == 10;
        if done {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", jason.headers, other.headers))
        }
    })
    .await?;
    for (user, version) in [(true, "v2"), (false, "v3")] {
        let answers = ask(scene, MATCHED, user).await?;
        let who = if user {
            "end-user: jason"
        } else {
            "no end-user header"
        };
        report.check(Check::new(
            &format!("{MATCHED} requests with {who}"),
            format!("{:?} {:?}", answers.headers.get(VERSION), answers.errors),
            format!("{{\"{version}\": {MATCHED}}}"),
            answers.header(VERSION, version) == MATCHED,
        ));
    }
    Ok(())
}

/// Gateway, label on the Service, a waypoint pod that is ready.
///
/// # Errors
/// If it does not become ready.
pub async fn up(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.apply(&["networking/reviews-waypoint.yaml"])?;
    scene.lab.edit(
        "bookinfo",
        "    app: reviews\n    service: reviews\n",
        "    app: reviews\n    service: reviews\n    istio.io/use-waypoint: reviews-waypoint\n",
    )?;
    until("a ready waypoint pod", SOON, || async {
        let cluster = scene.lab.cluster();
        let pods = scene.lab.pods();
        let waypoint = cluster.pods.iter().find(|(key, pod)| {
            let name = crate::cluster::PodView(pod).label(ambit_api::labels::GATEWAY_NAME);
            key.0 == BOOKINFO && name.is_some_and(|name| name == "reviews-waypoint")
        });
        let Some((key, _)) = waypoint else {
            return Err("no pod of the Gateway".to_owned());
        };
        let entry = pods
            .get(key)
            .ok_or_else(|| format!("{}: not started", key.1))?;
        if entry.state.ready {
            Ok(())
        } else {
            Err(format!("{}: {}", key.1, entry.state.message))
        }
    })
    .await
    .context("waypoint")?;
    Ok(())
}

/// Applies the 90/10 split and waits until no request goes anywhere else.
///
/// # Errors
/// If it never comes into force.
pub async fn split_in_force(scene: &Scene<'_>) -> anyhow::Result<()> {
    scene.apply(&["networking/destination-rule-reviews.yaml"])?;
    scene.apply_as(
        "virtual-service-reviews",
        "networking/virtual-service-reviews-90-10.yaml",
    )?;
    until("the split in force", SOON, || async {
        let answers = ask(scene, 50, false).await.map_err(|e| format!("{e:#}"))?;
        let to_split = answers.header(VERSION, "v1") + answers.header(VERSION, "v2");
        if to_split == 50 {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", answers.headers, answers.errors))
        }
    })
    .await?;
    Ok(())
}

/// 1000 requests within four standard deviations of 90/10.
///
/// # Errors
/// If the client could not run.
pub async fn split(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let answers = ask(scene, REQUESTS, false).await?;
    let second = answers.header(VERSION, "v2");
    let first = answers.header(VERSION, "v1");
    let (low, high) = four_sigma(REQUESTS, 0.1);
    Ok(Check::new(
        &format!("{REQUESTS} requests to reviews by the version that answered"),
        format!("{:?} {:?}", answers.headers.get(VERSION), answers.errors),
        format!("90% v1, 10% v2: v2 from {low} to {high}, nothing else"),
        first + second == REQUESTS && (low..=high).contains(&second),
    ))
}

/// Mean ± 4σ of a binomial count.
fn four_sigma(n: u64, p: f64) -> (u64, u64) {
    let n = n as f64;
    let (mean, sigma) = (n * p, (n * p * (1.0 - p)).sqrt());
    (
        (mean - 4.0 * sigma).ceil().max(0.0) as u64,
        (mean + 4.0 * sigma).floor() as u64,
    )
}

async fn ask(scene: &Scene<'_>, requests: u64, jason: bool) -> anyhow::Result<HttpSummary> {
    let count = requests.to_string();
    let mut args = vec!["-n", &count, "-c", "4", "--count-header", VERSION];
    if jason {
        args.extend(["-H", "end-user: jason"]);
    }
    args.push(URL);
    scene.client(&args).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn four_sigma_of_ten_percent_of_a_thousand() {
        assert_eq!(super::four_sigma(1000, 0.1), (63, 137));
    }
}
