//! What crosses the link between the nodes: whether a contender is what its column says.
//! In: a contender's first requests. Out: nothing, or what was seen instead.
//! Never here: measuring. The packet socket that looks costs time, so it is closed before the rounds.

use std::time::Duration;

use ambit_harness::until;
use anyhow::ensure;

use super::kinds::{Contender, Measure};
use super::sample;
use super::stage::Stage;

/// In every request.
const MARKER: &str = "GET /item";
/// Long enough for tunnels, certificates and buffers to be there.
const WARM: Duration = Duration::from_millis(200);
/// Bytes of payload that must have been seen before anything is concluded.
const ENOUGH: u64 = 20_000;
/// Longest wait for them.
const SOON: Duration = Duration::from_secs(5);

/// Makes the first requests of a contender and looks at the link meanwhile.
///
/// # Errors
/// Requests that fail; plaintext where there should be none, or none where it should be.
pub(crate) async fn look(stage: &Stage, contender: Contender) -> anyhow::Result<()> {
    let capture = stage.lab.capture(MARKER)?;
    sample::take(stage, Measure::Requests, contender, WARM, 0).await?;
    let seen = until("the requests on the link", SOON, || async {
        let seen = capture.seen();
        if seen.hbone_bytes + seen.other_bytes >= ENOUGH {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
    .await?;
    let readable = matches!(contender, Contender::NoMesh | Contender::Plain);
    ensure!(
        (seen.marker > 0) == readable,
        "{} requests could be read on the link",
        seen.marker
    );
    ensure!(
        contender != Contender::Ambit || seen.hbone_bytes > seen.other_bytes,
        "{} bytes by HBONE, {} past it",
        seen.hbone_bytes,
        seen.other_bytes
    );
    Ok(())
}
