//! Kinds that go, with all their objects, and come back.

use anyhow::{Result, ensure};

use super::{get, is_marked};
use crate::load;
use crate::saw;
use crate::site::Site;
use crate::wait::until;
use crate::wire::Wire;

const RULE: &str = include_str!("../manifests/rule.yaml");
/// What a user applies.
const KINDS: [(&str, &str); 2] = [
    (
        "virtualservices.networking.istio.io",
        include_str!("../../../../deploy/crds/networking.istio.io_virtualservices.yaml"),
    ),
    (
        "gateways.networking.istio.io",
        include_str!("../../../../deploy/crds/networking.istio.io_gateways.yaml"),
    ),
];

pub(super) fn go_and_return(site: &Site, _: &Wire) -> Result<()> {
    rule(site)?;
    for (name, _) in KINDS {
        site.kubectl(&["delete", "customresourcedefinition", name])?;
    }
    until("the rule is gone with its kind", || {
        let answer = get(site, "routed")?;
        ensure!(answer.status == "200" && !is_marked(&answer), "{answer:?}");
        Ok(())
    })?;
    load::flows(site)?;
    for (name, kind) in KINDS {
        site.apply(kind)?;
        established(site, name)?;
    }
    rule(site)?;
    saw("a rule went with its kind and holds again with it");
    Ok(())
}

/// Applies the rule and waits for its effect.
pub(super) fn rule(site: &Site) -> Result<()> {
    // The API server needs a moment for a kind that is new.
    until("the rule is taken", || site.apply(RULE))?;
    until("the rule holds", || {
        let answer = get(site, "routed")?;
        ensure!(is_marked(&answer), "{answer:?}");
        Ok(())
    })
}

pub(super) fn established(site: &Site, kind: &str) -> Result<()> {
    let name = format!("customresourcedefinition/{kind}");
    let wait = [
        "wait",
        "--for=condition=Established",
        &name,
        "--timeout=60s",
    ];
    site.kubectl(&wait).map(drop)
}
