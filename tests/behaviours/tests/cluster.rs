//! The lab is a cluster before there is a mesh in it.

use std::time::Duration;

use ambit_behaviours::{READY, can_run, name, plain};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::names::LabName;
use ambit_harness::{Lab, cgroup, network, until};
use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOON: Duration = Duration::from_secs(20);
const REVIEWS: &str = "http://reviews:9080/reviews/0";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_spreads_over_its_ready_pods_on_both_nodes() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("spread").await?;
    let args = [
        "-n",
        "150",
        "-c",
        "4",
        "--count-header",
        "x-bookinfo-version",
        REVIEWS,
    ];
    let answers = lab.http(BOOKINFO, "client", &args).await?;
    assert_eq!(answers.ok(), 150, "{answers:?}");
    for version in ["v1", "v2", "v3"] {
        assert!(
            answers.header("x-bookinfo-version", version) > 0,
            "{version}: {answers:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reaches_itself_through_its_service() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("hairpin").await?;
    let url = "http://productpage:9080/health";
    let answers = lab
        .http(BOOKINFO, "productpage-v1", &["-n", "5", url])
        .await?;
    assert_eq!(answers.ok(), 5, "{answers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_service_does_not_resolve_and_a_service_without_pods_refuses()
-> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("names").await?;
    let gone = lab
        .http(BOOKINFO, "client", &["http://nobody:9080/"])
        .await?;
    let error = gone.errors.keys().next().cloned().unwrap_or_default();
    assert!(
        error.contains("lookup") || error.contains("Name"),
        "{gone:?}"
    );

    lab.apply(
        "empty",
        "{apiVersion: v1, kind: Service, metadata: {name: empty, namespace: bookinfo}, \
         spec: {clusterIP: 10.96.9.9, selector: {app: nobody}, ports: [{name: http, port: 9080}]}}",
    )?;
    until("the empty service refuses", SOON, || async {
        let answer = lab.http(BOOKINFO, "client", &["http://empty:9080/"]).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let refused = answer.errors.keys().any(|error| error.contains("refused"));
        if refused {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_dies_is_started_again_and_its_pod_becomes_ready_again() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("restart").await?;
    let key = (BOOKINFO.to_owned(), "details-v1".to_owned());
    let pid = lab.pods()[&key].state.pids[0];
    let mut pods = lab.watch_pods();
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    let back = pods.wait_for(|pods| {
        let state = &pods[&key].state;
        state.restarts == 1 && state.ready && state.pids != [pid]
    });
    tokio::time::timeout(SOON, back).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_taken_out_of_the_directory_leaves_no_namespace_and_no_cgroup() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("removal").await?;
    let before = network::existing(lab.name()).len();
    let place = lab.place("outside", "outsider")?;
    lab.remove("outsider")?;
    until("the outsider gone", SOON, || async {
        let left = network::existing(lab.name()).len();
        let cgroup = place.cgroup.as_ref().is_some_and(|path| path.exists());
        if left + 1 == before && !cgroup {
            Ok(())
        } else {
            Err((left, cgroup))
        }
    })
    .await?;
    assert!(
        !lab.pods()
            .contains_key(&("outside".to_owned(), "outsider".to_owned()))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_is_a_message_on_the_pod_and_holds_up_no_other() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("image").await?;
    lab.apply(
        "stranger",
        "{apiVersion: v1, kind: Pod, metadata: {name: stranger, namespace: outside}, \
         spec: {nodeName: node-1, containers: [{name: c, image: nginx}]}}",
    )?;
    let key = ("outside".to_owned(), "stranger".to_owned());
    let mut pods = lab.watch_pods();
    let told = pods.wait_for(|pods| {
        pods.get(&key)
            .is_some_and(|p| p.state.message.contains("ErrImagePull"))
    });
    tokio::time::timeout(SOON, told).await??;
    let answer = lab
        .http(BOOKINFO, "client", &["http://details:9080/details/0"])
        .await?;
    assert_eq!(answer.ok(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_lab_leaves_nothing_on_the_machine() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = plain("drop").await?;
    let (lab_name, pids) = (lab.name().clone(), all_pids(&lab));
    assert!(!pids.is_empty());
    drop(lab);
    assert!(network::existing(&lab_name).is_empty());
    assert!(!cgroup::mount_point()?.join(lab_name.cgroup()).exists());
    assert!(!lab_name.run_dir().exists());
    assert!(!lab_name.lab_file().exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_lab_left_is_swept_up_by_the_next_of_its_name() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let crashed = plain("crash").await?;
    let name: LabName = name("crash").parse()?;
    // As if its process had been killed: nothing of it is dropped, and its file names a process that is gone.
    std::mem::forget(crashed);
    let text = std::fs::read_to_string(name.lab_file())?;
    let own = format!("\"pid\": {}", std::process::id());
    std::fs::write(
        name.lab_file(),
        text.replacen(&own, "\"pid\": 2147483646", 1),
    )?;
    let next = plain("crash").await?;
    next.pods_ready(READY).await?;
    let answer = next
        .http(BOOKINFO, "client", &["http://details:9080/details/0"])
        .await?;
    assert_eq!(answer.ok(), 1);
    Ok(())
}

fn all_pids(lab: &Lab) -> Vec<i32> {
    lab.pods()
        .values()
        .flat_map(|pod| pod.state.pids.clone())
        .collect()
}
