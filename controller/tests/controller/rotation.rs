//! Another authority is plugged in while the controller runs.

use crate::bench::{Bench, MESH, until};
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_ca::rotation::Pace;
use ambit_controller::config::AuthorityConfig;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

/// A root, an authority below it, its key.
struct Plugged([String; 3]);

impl Plugged {
    fn new() -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = params("root").self_signed(&root_key).unwrap().pem();
        let issuer = Issuer::new(params("root"), root_key);
        let signing = params("below").signed_by(&key, &issuer).unwrap().pem();
        Self([root, signing, key.serialize_pem()])
    }

    /// As a kubelet does: all files at once.
    fn mount(&self, bench: &Bench, version: &str) {
        let [root, signing, key] = &self.0;
        let dir = bench.dir.path().join("ca");
        std::fs::create_dir(dir.join(version)).unwrap();
        let put =
            |name: &str, text: &str| std::fs::write(dir.join(version).join(name), text).unwrap();
        put("root-cert.pem", root);
        put("ca-cert.pem", signing);
        put("cert-chain.pem", signing);
        put("ca-key.pem", key);
        symlink(version, dir.join("..data_tmp")).unwrap();
        std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    }
}

fn quick() -> AuthorityConfig {
    AuthorityConfig {
        look: Duration::from_millis(20),
        pace: Pace {
            settle: Duration::from_secs(2),
            overlap: Duration::from_secs(2),
        },
        ..AuthorityConfig::default()
    }
}

fn file(bench: &Bench) -> PathBuf {
    bench.dir.path().join("ca/published/root-cert.pem")
}

async fn publishes(bench: &Bench, roots: &str) {
    let look = || std::fs::read_to_string(file(bench)).ok();
    until(roots, || look().filter(|now| now == roots)).await;
}

/// What a request is answered with: leaf, others, roots.
async fn signed(bench: &Bench) -> IstioCertificateResponse {
    let csr = CertificateParams::default()
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    let request = IstioCertificateRequest {
        csr: csr.pem().unwrap(),
        validity_duration: 3600,
        metadata: None,
    };
    let token = bench.issuer.token("default/web", "n1", 60);
    bench.sign(Some(&token), request).await.unwrap()
}

/// What signs comes first among the roots that are sent along.
fn in_order(reply: &IstioCertificateResponse, old: &str, new: &str) {
    let roots = reply.cert_chain.last().unwrap();
    match reply.cert_chain.len() {
        2 => assert!(roots.starts_with(old), "{roots}"),
        3 => assert!(roots.starts_with(new), "{roots}"),
        n => panic!("{n} entries"),
    }
}

#[tokio::test]
async fn a_new_root_is_published_before_it_signs_and_the_old_one_goes_last() {
    let bench = Bench::start_with(&[("mesh.yaml", MESH)], quick()).await;
    let old = std::fs::read_to_string(file(&bench)).unwrap();
    assert_eq!(signed(&bench).await.cert_chain[1], old);
    let plugged = Plugged::new();
    let new = &plugged.0[0];
    plugged.mount(&bench, "..one");
    for roots in [format!("{old}{new}"), format!("{new}{old}"), new.clone()] {
        publishes(&bench, &roots).await;
        in_order(&signed(&bench).await, &old, new);
    }
    let last = signed(&bench).await;
    assert_eq!(last.cert_chain[1..], [plugged.0[1].clone(), new.clone()]);
    let metrics = bench.get("/metrics").await;
    for line in [
        "ambit_ca_reloads_total{result=\"adopted\"} 2",
        "ambit_ca_root_steps_total{step=\"announce\"} 1",
        "ambit_ca_root_steps_total{step=\"lead\"} 1",
        "ambit_ca_root_steps_total{step=\"retire\"} 1",
        "ambit_ca_roots 1",
        "citadel_server_root_cert_expiry_timestamp 67",
        "citadel_server_cert_chain_expiry_seconds ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // A new controller finds what was published.
    let authority = bench.get("/debug/authority").await;
    assert!(authority.contains("\"pending\": null"), "{authority}");
}

#[tokio::test]
async fn a_set_that_does_not_belong_together_is_named_and_the_last_one_goes_on() {
    let bench = Bench::start_with(&[("mesh.yaml", MESH)], quick()).await;
    let old = std::fs::read_to_string(file(&bench)).unwrap();
    let good = Plugged::new();
    let mut wrong = Plugged(good.0.clone());
    wrong.0[0] = Plugged::new().0[0].clone();
    wrong.mount(&bench, "..wrong");
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let authority = bench.get("/debug/authority").await;
        if authority.contains("no root in it signs ca-cert.pem") {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{authority}");
    }
    let metrics = bench.get("/metrics").await;
    assert!(
        metrics.contains("ambit_ca_reloads_total{result=\"refused\"} 1"),
        "{metrics}"
    );
    assert!(bench.get("/ready").await.starts_with("HTTP/1.1 200"));
    assert_eq!(signed(&bench).await.cert_chain[1], old);
    good.mount(&bench, "..good");
    publishes(&bench, &good.0[0]).await;
    let authority = bench.get("/debug/authority").await;
    assert!(authority.contains("\"refused\": null"), "{authority}");
}
