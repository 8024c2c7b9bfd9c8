//! The relay of one connection, until it ends or is cut.
//! In: both ends, the record, the place in the registry. Out: how it ended.

use crate::flow::Flow;
use crate::outcome::Failure;
use crate::registry::Place;
use ambit_net::relay::{self, Endpoint, RelayEnd};

/// Relays; dropping the relay when the connection is cut resets both ends.
///
/// # Errors
/// A path failed, or we cut it. A reset by either end is passed on and is no failure: applications
/// end connections that way.
pub async fn run(
    client: impl Endpoint,
    server: impl Endpoint,
    flow: &Flow,
    mut place: Place,
) -> Result<(), Failure> {
    tokio::select! {
        end = relay::run(client, server, &flow.counters) => match end {
            RelayEnd::Finished => Ok(()),
            RelayEnd::Broken { error, .. } if error.is_reset() => Ok(()),
            RelayEnd::Broken { by, error } => Err(Failure::Broken { by, source: error }),
        },
        cut = place.cut() => Err(Failure::Cut(cut)),
    }
}
