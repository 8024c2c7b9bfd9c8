//! A leaf is revoked, then the authority that signed it: who shows one of theirs is refused, and what it had open
//! ends; everybody else goes on, and the mesh's own certificates are renewed.

use super::*;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt as _;

/// Preface of HTTP/2 and empty SETTINGS: a tunnel without streams.
const TUNNEL: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Serial number of a leaf that is stolen.
const STOLEN: u64 = 0x5701;
/// Of the authority that comes after the first one.
const SECOND: u64 = 0x12;

/// A list of this authority.
fn list((certificate, key): (&str, &str), serials: &[u64]) -> Result<String> {
    let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
    let now = SystemTime::now();
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + Duration::from_secs(3600)).into(),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(&issuer)?.pem()?)
}

/// Peers that a node's proxy has refused because of it.
async fn refused(town: &Town) -> Result<f64> {
    let scrape = town.lab.ztunnel_metrics(node(2)).await?;
    Ok(scrape.sum("ambit_peers_revoked_total", &[]))
}

async fn refuses_more_than(town: &Town, before: f64) -> Result<()> {
    until("the proxy has refused it", SOON, || async {
        match refused(town).await {
            Ok(now) if now > before => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

/// Until both proxies show a certificate of this authority.
async fn shown(town: &Town, plugged: &Plugged) -> Result<()> {
    for (n, identity) in [(1, CLIENT), (2, SERVER)] {
        until("the proxy shows the new chain", SOON, || async {
            match held(town, n, identity).await {
                Ok((chain, _)) if chain.get(1) == Some(&plugged.signing) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_is_revoked_is_refused_and_nobody_else() -> Result<()> {
    let Some(town) = town_set(&SETTINGS).await? else {
        return Ok(());
    };
    let first = Plugged::new()?;
    first.mount(&ca_dir(&town), "..one")?;
    publishes(&town, "the new root alone is published", &first.root).await?;
    shown(&town, &first).await?;

    let attacker = Attacker {
        netns: town
            .lab
            .place(OUTSIDE, "outsider")?
            .netns
            .context("no namespace")?,
        to: SocketAddr::new(town.address(TOWN, "echo")?.ip(), ports::HBONE),
    };
    let authority = Authority::of(&first.signing, &first.key)?;
    let leaf = |serial| authority.client_below(CLIENT, (serial, &first.signing));
    let stolen = leaf(STOLEN)?;
    let mut open = attacker.tls(&stolen).await?;
    open.write_all(TUNNEL).await?;
    open.flush().await?;
    let steady = start(&town, &["-n", "5", "--hold-ms", "100"]).await?;
    ensure!(refused(&town).await? == 0.0, "nobody is refused yet");

    // The leaf: its tunnel ends, and it makes no other one.
    let lists = list((&first.signing, &first.key), &[STOLEN])?;
    first.mount_with(&ca_dir(&town), "..two", &lists)?;
    refuses_more_than(&town, 0.0).await?;
    attacker::closed(open).await?;
    let before = refused(&town).await?;
    attacker
        .clone()
        .says_within(stolen, TUNNEL.to_vec())
        .await?;
    refuses_more_than(&town, before).await?;
    let log = town.lab.log(DaemonKind::Ztunnel(node(2)));
    ensure!(
        log.contains("the peer's certificate is revoked (serial number 5701)"),
        "the log names the reason"
    );
    let steady = stopped(steady).await?;
    ensure!(
        steady.completed == 5 && steady.errors.is_empty() && steady.messages > 0,
        "others go on: {steady:?}"
    );
    ensure!(
        town.connections(20).await?.completed == 20,
        "others connect"
    );

    // The authority: all its leaves with it; the mesh has others at once.
    let second = Plugged::below(first.root.clone(), first.root_key.clone(), SECOND)?;
    let lists = list((&first.root, &first.root_key), &[FIRST])?;
    second.mount_with(&ca_dir(&town), "..three", &lists)?;
    shown(&town, &second).await?;
    let before = refused(&town).await?;
    attacker.says_within(leaf(0x77)?, TUNNEL.to_vec()).await?;
    refuses_more_than(&town, before).await?;
    ensure!(
        town.connections(20).await?.completed == 20,
        "the mesh works with the certificates of the second one"
    );
    town.lab.down().await;
    Ok(())
}
