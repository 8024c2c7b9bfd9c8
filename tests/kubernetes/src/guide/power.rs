//! A node loses power and comes back.

use anyhow::{Result, ensure};

use super::join::everybody;
use super::probes::{DETAILS, OUTSIDE};
use super::{Before, PAGE, TITLE};
use crate::application::pods;
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

/// The one whose pods matter: those of the samples are on both.
const NODE: &str = "n1";

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    site.cluster(&["node", "kill", NODE])?;
    site.cluster(&["node", "start", NODE])?;
    until("pods start again, in the mesh", || {
        let now = pods(site)?;
        let again = before.pods.iter().filter(|(name, pod)| {
            now.get(*name)
                .is_some_and(|found| found.restarts > pod.restarts)
        });
        ensure!(again.count() > 0, "none has started again: {now:?}");
        ensure!(now.values().all(|pod| pod.ready), "{now:?}");
        Ok(())
    })?;
    everybody(site, Some("enabled"))?;
    until("the page", || {
        let page = ask(site, "default", PAGE, &[])?;
        ensure!(
            page.status == "200" && page.body.contains(TITLE),
            "{page:?}"
        );
        Ok(())
    })?;
    let now = pods(site)?;
    let back = now.values().filter(|pod| pod.restarts > 0).count();
    saw(&format!(
        "{back} pods of {NODE} are back in the mesh, the page is whole"
    ));
    stranger_is_refused(site)?;
    before.pods = now;
    Ok(())
}

/// The policy of before holds for them.
fn stranger_is_refused(site: &Site) -> Result<()> {
    until("the refusal of plaintext", || {
        let stranger = ask(site, OUTSIDE, DETAILS, &[])?;
        ensure!(stranger.status == "000", "{stranger:?}");
        Ok(())
    })
}
