//! Pods leave.

use anyhow::{Context as _, Result, ensure};

use super::join::{everybody, label};
use super::{Before, PAGE, TITLE};
use crate::application::{pods, untouched};
use crate::flow::{Held, Stream, ask};
use crate::saw;
use crate::site::Site;
use crate::traces::rules;
use crate::wait::until;

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    let mut held = Held::open(site, "productpage", 9080)?;
    let stream = Stream::start(site, PAGE)?;
    label(site, "istio.io/dataplane-mode-")?;
    everybody(site, None)?;
    untouched(&before.pods, &pods(site)?)?;
    // No policy of the mesh holds for them any more.
    until("plaintext from everywhere", || {
        let stranger = ask(
            site,
            "outside",
            "http://productpage.default:9080/productpage",
            &[],
        )?;
        ensure!(
            stranger.status == "200" && stranger.body.contains(TITLE),
            "{stranger:?}"
        );
        Ok(())
    })?;
    held.ask().context("the connection through the mesh")?;
    saw("annotations are gone, nobody was restarted, the connection through the mesh goes on");
    drop(held);
    // Nodes wait for connections of the mesh before they take the last of it out of a pod.
    for node in site.nodes()? {
        until("no rule of the mesh is left in a pod", || {
            let rules = rules(site, node)?;
            ensure!(rules.is_empty(), "{node} has {rules}");
            Ok(())
        })?;
    }
    let answered = stream.all_answered()?;
    saw(&format!("{answered} requests meanwhile, all answered"));
    Ok(())
}
