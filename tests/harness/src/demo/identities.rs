//! The identities of the pods, as their node proxies hold them.

use std::collections::BTreeSet;

use ambit_api::ports;

use super::report::Check;
use super::scene::{BOOKINFO, SOON, Scene};
use crate::names::CLUSTER_DOMAIN;
use crate::wait::until;

/// Accounts of the sample.
const ACCOUNTS: [&str; 5] = [
    "bookinfo-details",
    "bookinfo-productpage",
    "bookinfo-ratings",
    "bookinfo-reviews",
    "client",
];

/// Every account of the sample has a certificate on some node.
///
/// # Errors
/// If no proxy answers.
pub async fn check(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let wanted: BTreeSet<String> = ACCOUNTS
        .iter()
        .map(|account| format!("spiffe://{CLUSTER_DOMAIN}/ns/{BOOKINFO}/sa/{account}"))
        .collect();
    let found = until("certificates of all accounts", SOON, || async {
        let held = held(scene).await.map_err(|error| format!("{error:#}"))?;
        if wanted.is_subset(&held) {
            Ok(held)
        } else {
            Err(format!("{held:?}"))
        }
    })
    .await;
    let (seen, all) = match found {
        Ok(held) => (
            held.into_iter()
                .collect::<Vec<_>>()
                .join("\n                 "),
            true,
        ),
        Err(error) => (error.last, false),
    };
    let expected = wanted
        .into_iter()
        .collect::<Vec<_>>()
        .join("\n                 ");
    Ok(Check::new(
        "certificates that the node proxies hold",
        seen,
        expected,
        all,
    ))
}

/// Identities with a certificate on any node.
///
/// # Errors
/// If a proxy does not answer, or with something else than its configuration.
pub async fn held(scene: &Scene<'_>) -> anyhow::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for node in scene.lab.nodes() {
        let page = scene
            .lab
            .page(node.number, ports::ADMIN, "/config_dump")
            .await?;
        let dump: serde_json::Value = serde_json::from_str(&page)?;
        for entry in dump["certificates"].as_array().into_iter().flatten() {
            let chain = entry["certChain"]
                .as_array()
                .is_some_and(|chain| !chain.is_empty());
            if let (Some(identity), true) = (entry["identity"].as_str(), chain) {
                all.insert(identity.to_owned());
            }
        }
    }
    Ok(all)
}
