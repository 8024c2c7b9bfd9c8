//! The root of the mesh is replaced under traffic: no connection breaks and none fails to come up; in the
//! end everybody shows the new chain, and what the old root signed counts no more.

#[path = "hostile/attacker.rs"]
#[allow(dead_code, reason = "shared with attacks")]
mod attacker;
#[path = "hostile/certificates.rs"]
#[allow(dead_code, reason = "shared with attacks")]
mod certificates;
#[path = "rotation/revoked.rs"]
mod revoked;

use ambit_api::ports;
use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town_set};
use ambit_harness::client::TcpSummary;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context as _, Result, ensure};
use attacker::Attacker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certificates::Authority;
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Connections that live through all of it.
const STEADY: usize = 50;
/// Steps of a change, made short; proxies look every two seconds.
const SETTINGS: [(&str, &str); 3] = [
    ("CA_RELOAD_INTERVAL", "500ms"),
    ("CA_ROOT_SETTLE", "8s"),
    ("CA_ROOT_OVERLAP", "12s"),
];
/// Whose certificate is looked at.
const CLIENT: &str = "spiffe://cluster.local/ns/town/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/town/sa/echo";

/// A root and an authority below it, as an administrator makes them.
struct Plugged {
    root: String,
    root_key: String,
    signing: String,
    key: String,
}

/// Serial number of the authority that is below a root first.
const FIRST: u64 = 0x11;

fn authority_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial.into());
    params
}

impl Plugged {
    fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let root = authority_params("another root", 1).self_signed(&key)?;
        Self::below(root.pem(), key.serialize_pem(), FIRST)
    }

    /// Another authority below this root.
    fn below(root: String, root_key: String, serial: u64) -> Result<Self> {
        let issuer = Issuer::from_ca_cert_pem(&root, KeyPair::from_pem(&root_key)?)?;
        let key = KeyPair::generate()?;
        let params = authority_params(&format!("below it, {serial}"), serial);
        Ok(Self {
            signing: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
            root,
            root_key,
        })
    }

    /// Puts it where the controller looks, all files at once, as a kubelet does.
    fn mount(&self, ca_dir: &Path, version: &str) -> Result<()> {
        self.mount_with(ca_dir, version, "")
    }

    /// The same with lists of revoked certificates.
    fn mount_with(&self, ca_dir: &Path, version: &str, lists: &str) -> Result<()> {
        let dir = ca_dir.join(version);
        std::fs::create_dir(&dir)?;
        for (name, text) in [
            ("root-cert.pem", &*self.root),
            ("cert-chain.pem", &self.signing),
            ("ca-cert.pem", &self.signing),
            ("ca-key.pem", &self.key),
            ("ca-crl.pem", lists),
        ] {
            if !text.is_empty() {
                std::fs::write(dir.join(name), text)?;
            }
        }
        let beside = ca_dir.join("..data_tmp");
        symlink(version, &beside)?;
        std::fs::rename(beside, ca_dir.join("..data"))?;
        Ok(())
    }
}

fn ca_dir(town: &Town) -> PathBuf {
    town.lab.run_dir().join("ca")
}

/// What proxies trust.
fn published(town: &Town) -> Result<String> {
    let path = ca_dir(town).join("published/root-cert.pem");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

async fn publishes(town: &Town, what: &str, roots: &str) -> Result<()> {
    let look = || async {
        match published(town) {
            Ok(now) if now == roots => Ok(()),
            Ok(now) => Err(format!("{} roots", now.matches("BEGIN").count())),
            Err(error) => Err(format!("{error:#}")),
        }
    };
    until(what, SOON, look).await?;
    Ok(())
}

/// Certificates in the chain and roots that a node's proxy holds for an identity, as PEM.
async fn held(town: &Town, n: u8, identity: &str) -> Result<(Vec<String>, Vec<String>)> {
    let dump = town.lab.page(node(n), ports::ADMIN, "/config_dump").await?;
    let dump: Value = serde_json::from_str(&dump)?;
    let all = dump["certificates"].as_array().context("no certificates")?;
    let found = all.iter().find(|c| c["identity"] == identity);
    let found = found.context("no certificate for it")?;
    let pem = |list: &Value| -> Result<Vec<String>> {
        let of = |c: &Value| {
            Ok(String::from_utf8(
                STANDARD.decode(c["pem"].as_str().unwrap_or(""))?,
            )?)
        };
        list.as_array().into_iter().flatten().map(of).collect()
    };
    Ok((pem(&found["certChain"])?, pem(&found["rootCerts"])?))
}

async fn stopped(process: Process) -> Result<TcpSummary> {
    process.signal(Signal::SIGTERM);
    Ok(finish(process).await?.summary()?)
}

async fn start(town: &Town, args: &[&str]) -> Result<Process> {
    let to = ECHO.to_string();
    let command = ["bookinfo", "tcp", &to]
        .into_iter()
        .chain(args.iter().copied());
    let command: Vec<String> = command.map(str::to_owned).collect();
    Ok(town.lab.start_in(TOWN, "client", command).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_replaced_and_no_connection_fails_on_the_way() -> Result<()> {
    let Some(town) = town_set(&SETTINGS).await? else {
        return Ok(());
    };
    let old = published(&town)?;
    let steady = STEADY.to_string();
    let steady = start(&town, &["-n", &steady, "--hold-ms", "100"]).await?;
    let fresh = start(&town, &["--every-ms", "20"]).await?;

    let plugged = Plugged::new()?;
    plugged.mount(&ca_dir(&town), "..one")?;
    let new = &plugged.root;
    publishes(
        &town,
        "both are published, the old one signs",
        &format!("{old}{new}"),
    )
    .await?;
    publishes(
        &town,
        "both are published, the new one signs",
        &format!("{new}{old}"),
    )
    .await?;
    publishes(&town, "the new one alone is published", new).await?;
    for n in [1, 2] {
        let identity = if n == 1 { CLIENT } else { SERVER };
        until(
            "the proxy shows the new chain and trusts the new root alone",
            SOON,
            || async {
                match held(&town, n, identity).await {
                    Ok((chain, roots)) if chain.len() == 2 && chain[1] == plugged.signing => {
                        if roots == [new.clone()] {
                            Ok(())
                        } else {
                            Err(format!("{} roots", roots.len()))
                        }
                    }
                    other => Err(format!("{other:?}")),
                }
            },
        )
        .await?;
    }

    let (steady, fresh) = (stopped(steady).await?, stopped(fresh).await?);
    ensure!(
        steady.completed == STEADY && steady.errors.is_empty(),
        "{steady:?}"
    );
    ensure!(steady.messages > 0, "{steady:?}");
    ensure!(
        fresh.errors.is_empty() && fresh.completed == fresh.connected,
        "{fresh:?}"
    );
    ensure!(fresh.completed > 200, "{fresh:?}");
    refuses_the_old(&town).await?;
    town.lab.down().await;
    Ok(())
}

/// A leaf of the old root, for an identity of the mesh.
async fn refuses_the_old(town: &Town) -> Result<()> {
    let count = || async {
        let scrape = town.lab.ztunnel_metrics(node(2)).await?;
        anyhow::Ok(scrape.sum("ambit_connections_refused_total", &[("reason", "tls")]))
    };
    let before = count().await?;
    let leaf = Authority::of_lab(&town.lab.run_dir())?.client(CLIENT)?;
    let attacker = Attacker {
        netns: town
            .lab
            .place(OUTSIDE, "outsider")?
            .netns
            .context("no namespace")?,
        to: SocketAddr::new(town.address(TOWN, "echo")?.ip(), ports::HBONE),
    };
    attacker.says_within(leaf, Vec::new()).await?;
    until("the proxy has refused it", SOON, || async {
        match count().await {
            Ok(now) if now > before => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let log = town.lab.log(DaemonKind::Ztunnel(node(2)));
    ensure!(
        log.contains("the peer's certificate does not chain to our roots"),
        "the log names the reason"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_does_not_belong_together_is_refused_by_name_and_the_old_one_goes_on()
-> Result<()> {
    let Some(town) = town_set(&SETTINGS).await? else {
        return Ok(());
    };
    let old = published(&town)?;
    let mut wrong = Plugged::new()?;
    wrong.root = Plugged::new()?.root;
    wrong.mount(&ca_dir(&town), "..wrong")?;
    until("the controller says what is wrong", SOON, || async {
        let log = town.lab.log(DaemonKind::Controller);
        match log.contains("root-cert.pem is not usable: no root in it signs ca-cert.pem") {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await?;
    let metrics = town.lab.controller_page("/metrics").await?;
    ensure!(
        metrics.contains("ambit_ca_reloads_total{result=\"refused\"} 1"),
        "{metrics}"
    );
    let ready = town.lab.controller_page("/ready").await?;
    ensure!(!ready.contains("not ready"), "{ready}");
    ensure!(published(&town)? == old, "what is published stays");
    ensure!(
        town.connections(20).await?.completed == 20,
        "connections work"
    );
    town.lab.down().await;
    Ok(())
}
