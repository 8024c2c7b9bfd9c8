//! The xDS client's end of the state.
//! In: xDS updates. Out: the writer's updates, rejections for the NACK, and readiness once every
//! type is known.

use super::{State, Update, Writer};
use ambit_api::type_urls;
use ambit_runtime::readiness::Gate;
use ambit_xds::{Handler, Rejection};
use prometheus_client::metrics::counter::Counter;

/// Feeds a [`Writer`] from an xDS stream.
#[derive(Debug)]
pub struct Subscriber {
    writer: Writer,
    state: State,
    synced: Gate,
    refused: Counter,
}

impl Subscriber {
    /// Types to subscribe to. Endpoints come before the routes that send to them, and what the gateway
    /// demands before what it serves.
    pub const TYPES: [&'static str; 5] = [
        type_urls::ADDRESS,
        type_urls::CLUSTER,
        type_urls::ENDPOINTS,
        type_urls::GATEWAY,
        type_urls::ROUTER,
    ];

    /// Opens `synced` after the first full response of every type. `refused` counts resources that
    /// cannot be used.
    pub fn new(writer: Writer, state: State, synced: Gate, refused: Counter) -> Self {
        Self {
            writer,
            state,
            synced,
            refused,
        }
    }
}

impl Handler for Subscriber {
    fn apply(&mut self, update: &ambit_xds::Update) -> Vec<Rejection> {
        let resources = update
            .resources
            .iter()
            .map(|r| (r.name.clone(), r.body.clone()));
        let malformed = update.malformed.len();
        let update = Update {
            type_url: update.type_url.clone(),
            resources: resources.collect(),
            removed: update.removed.clone(),
            first: update.first,
        };
        let rejected = self.writer.update(&update);
        self.refused.inc_by((rejected.len() + malformed) as u64);
        if self.state.load().is_complete() {
            self.synced.open();
        }
        rejected
            .into_iter()
            .map(|r| Rejection {
                name: r.name,
                reason: r.reason,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
