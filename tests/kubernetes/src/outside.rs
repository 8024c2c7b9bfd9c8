//! A mesh whose certificates somebody else signs, installed by helm.
//! In: a cluster with nothing on it, whose API server has ClusterTrustBundles. Out: the same cluster after pods have
//! talked with certificates of a signer outside, and one was denied. Steps build on each other; half a minute, and one or two for the cluster.

mod signer;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::flow::ask;
use crate::saw;
use crate::site::{Site, say};
use crate::wait::until;
use signer::{ROOT_SERIAL, Signer, Until};

/// Images beside those of the getting-started guide.
pub const SAMPLES: [&str; 1] = ["httpbin"];
/// Of the API server.
pub const OPTIONS: [&str; 4] = [
    "--feature-gates",
    "ClusterTrustBundle=true",
    "--runtime-config",
    "certificates.k8s.io/v1beta1=true",
];
const SYSTEM: &str = "istio-system";
const HTTPBIN: &str = "http://httpbin:8000/get";
/// What everybody may mount.
const BUNDLE: &str = "istio.io:istiod-ca:root-cert";
/// Settings of the controller.
const CONTROLLER: [&str; 4] = [
    "--set=externalCa.signer=ambit.test/mesh",
    "--set=clusterTrustBundle=true",
    "--set=resources.requests.cpu=10m",
    "--wait",
];
/// Only pods with a certificate, and of them only one account's.
const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-curl, namespace: default}
spec:
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/curl]}}]}]
";
/// A pod of an account that the signer's people do not want.
const UNWANTED: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: unwanted, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: unwanted, namespace: default}
spec:
  serviceAccountName: unwanted
  terminationGracePeriodSeconds: 0
  containers:
    - name: curl
      image: docker.io/curlimages/curl
      imagePullPolicy: IfNotPresent
      command: [sleep, infinity]
";

/// Runs every step.
///
/// # Errors
/// The first expectation that did not hold, with what was seen.
pub fn run(site: &Site) -> Result<()> {
    let signer = Signer::new()?;
    std::thread::scope(|scope| {
        scope.spawn(|| signer.run(site));
        let _until = Until(&signer);
        steps(site, &signer)
    })
}

fn steps(site: &Site, signer: &Signer) -> Result<()> {
    let start = Instant::now();
    let step = |sentence: &str, body: &dyn Fn() -> Result<()>| {
        say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
        body().with_context(|| sentence.to_owned())
    };
    step("a mesh is installed whose controller has no key", &|| {
        install(site, signer)
    })?;
    step("pods talk with certificates of the signer", &|| talk(site))?;
    step(
        "its root is in a ClusterTrustBundle, and comes back",
        &|| bundle(site, signer),
    )?;
    step("somebody else approves, and denies one account", &|| {
        denied(site, signer)
    })?;
    say(&format!("{:>4}s all of it", start.elapsed().as_secs()));
    Ok(())
}

fn install(site: &Site, signer: &Signer) -> Result<()> {
    let into = ["-n", SYSTEM];
    let chart = |name: &str| format!("deploy/charts/{name}");
    let base = [
        "install",
        "ambit-base",
        &chart("base"),
        "--create-namespace",
    ];
    site.helm(&[&base[..], &into].concat())?;
    let level = "pod-security.kubernetes.io/enforce=privileged";
    site.kubectl(&["label", "namespace", SYSTEM, level])?;
    site.apply(&signer.secret(SYSTEM))?;
    let controller = ["install", "ambit-controller", &chart("controller")];
    site.helm(&[&controller[..], &CONTROLLER, &into].concat())?;
    let cgroups = site.cgroup_path().unwrap_or("/sys/fs/cgroup");
    let cgroups = format!("--set=cgroupPath={cgroups}");
    let cni = ["install", "ambit-cni", &chart("cni"), &cgroups, "--wait"];
    site.helm(&[&cni[..], &into].concat())?;
    let ztunnel = ["install", "ambit-ztunnel", &chart("ztunnel"), "--wait"];
    site.helm(&[&ztunnel[..], &into].concat())?;
    let secrets = site.kubectl(&["get", "secrets", "-n", SYSTEM, "-o", "name"])?;
    ensure!(!secrets.contains("istio-ca-secret"), "a key: {secrets}");
    saw("controller, agents and proxies are ready; there is no Secret with a key");
    Ok(())
}

fn talk(site: &Site) -> Result<()> {
    site.kubectl(&[
        "label",
        "namespace",
        "default",
        "istio.io/dataplane-mode=ambient",
    ])?;
    for manifest in ["httpbin/httpbin.yaml", "curl/curl.yaml"] {
        site.apply_sample("default", manifest)?;
    }
    let all = ["wait", "--for=condition=Available", "deployment", "--all"];
    site.kubectl(&[&all[..], &["--timeout=120s"]].concat())?;
    site.apply(STRICT)?;
    until("httpbin, by mutual TLS alone", || {
        let answer = ask(site, "default", HTTPBIN, &[])?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })?;
    let pods = site.get(&["pods", "-n", "default", "-lapp=curl"])?;
    let node = pods["items"][0]["spec"]["nodeName"].as_str();
    let node = node.context("curl is on a node")?;
    let shown = site.ambit(&["ztunnel-config", "certificate", "--node", node])?;
    let own = shown.lines().filter(|line| line.contains("/sa/curl"));
    let lines: Vec<&str> = own.collect();
    for kind in ["Leaf", "Intermediate", "Root"] {
        let found = lines.iter().find(|line| line.contains(kind));
        let found = found.with_context(|| format!("no {kind} of curl:\n{shown}"))?;
        saw(found);
        ensure!(
            kind != "Root" || found.contains(ROOT_SERIAL),
            "another root: {found}"
        );
    }
    no_requests_left(site)
}

fn bundle(site: &Site, signer: &Signer) -> Result<()> {
    let is_there = || {
        let found = site.get(&["clustertrustbundle", BUNDLE])?;
        ensure!(
            found["spec"]["trustBundle"] == signer.root()
                && found["spec"]["signerName"] == "istio.io/istiod-ca",
            "{found:#}"
        );
        Ok(())
    };
    until("the bundle", is_there)?;
    site.kubectl(&["delete", "clustertrustbundle", BUNDLE])?;
    until("the bundle, deleted", is_there)?;
    saw("it says the signer's root, also after it was deleted");
    Ok(())
}

fn denied(site: &Site, signer: &Signer) -> Result<()> {
    signer.judge("/ns/default/sa/unwanted");
    let chart = "deploy/charts/controller";
    let upgrade = ["upgrade", "ambit-controller", chart, "-n", SYSTEM];
    let approve = ["--set=externalCa.approve=false"];
    site.helm(&[&upgrade[..], &CONTROLLER, &approve].concat())?;
    saw("the controller is ready with a certificate that somebody else approved");
    site.apply(UNWANTED)?;
    let words = until("words in the controller's log", || {
        let log = ["logs", "-n", SYSTEM, "-lapp=ambit-controller", "--tail=-1"];
        let log = site.kubectl(&log)?;
        let line = log
            .lines()
            .find(|line| line.contains("the request was denied"));
        Ok(line.context("nothing was denied")?.to_owned())
    })?;
    saw(&words);
    ensure!(
        words.contains("ambit.test/mesh") && words.contains("sa/unwanted"),
        "{words}"
    );
    ensure!(words.contains("KubectlDeny"), "no reason: {words}");
    let refused = [
        "exec",
        "unwanted",
        "--",
        "curl",
        "-s",
        "--max-time",
        "5",
        HTTPBIN,
    ];
    ensure!(
        site.kubectl(&refused).is_err(),
        "the pod has no certificate"
    );
    let answer = ask(site, "default", HTTPBIN, &[])?;
    ensure!(answer.status == "200", "the others: {answer:?}");
    site.kubectl(&["delete", "pod", "unwanted"])?;
    no_requests_left(site)
}

/// Requests are deleted when they have their answer.
fn no_requests_left(site: &Site) -> Result<()> {
    until("no request is left", || {
        let left = site.kubectl(&["get", "certificatesigningrequests", "-o", "name"])?;
        ensure!(!left.contains("csr-workload-"), "{left}");
        Ok(())
    })
}
