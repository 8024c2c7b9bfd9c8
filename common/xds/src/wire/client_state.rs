//! The client's half: which requests to send, what a response means.
//! Remembers name → version of everything accepted, so a reconnect fetches only differences.

use ambit_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, ErrorDetail, Node};
use bytes::Bytes;
use std::collections::BTreeMap;

/// gRPC `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// A response, taken apart.
#[derive(Clone, Debug)]
pub struct Update {
    /// `type.googleapis.com/…`.
    pub type_url: String,
    /// New or changed resources.
    pub resources: Vec<ResourceUpdate>,
    /// Resources without a body or with one of another type.
    pub malformed: Vec<Rejection>,
    /// Names that are gone.
    pub removed: Vec<String>,
    /// First response of this type on any stream: with a wildcard it is everything there is.
    pub first: bool,
}

/// One new or changed resource.
#[derive(Clone, Debug)]
pub struct ResourceUpdate {
    /// Primary name.
    pub name: String,
    /// Content version.
    pub version: String,
    /// Encoded message.
    pub body: Bytes,
}

/// A resource the handler could not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Primary name.
    pub name: String,
    /// Why, for the NACK.
    pub reason: String,
}

#[derive(Debug, Default)]
struct TypeState {
    versions: BTreeMap<String, String>,
    synced: bool,
}

/// What a client knows of each type, across reconnects.
#[derive(Debug)]
pub struct ClientState {
    node: Node,
    types: BTreeMap<String, TypeState>,
}

impl ClientState {
    /// Subscribes to everything of each type.
    pub fn new(node: Node, types: &[&str]) -> Self {
        let types = types
            .iter()
            .map(|t| ((*t).to_owned(), TypeState::default()));
        Self {
            node,
            types: types.collect(),
        }
    }

    /// The first requests of a stream, one per type.
    pub fn start(&self) -> Vec<DeltaDiscoveryRequest> {
        let request = |(type_url, state): (&String, &TypeState)| DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: type_url.clone(),
            initial_resource_versions: state.versions.clone(),
            ..Default::default()
        };
        self.types.iter().map(request).collect()
    }

    /// Takes a response apart. `None` for a type that was never asked for.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse) -> Option<(Update, String)> {
        let state = self.types.get(&response.type_url)?;
        let (mut resources, mut malformed) = (Vec::new(), Vec::new());
        for r in response.resources {
            match r.resource {
                Some(any) if any.type_url == response.type_url => resources.push(ResourceUpdate {
                    name: r.name,
                    version: r.version,
                    body: any.value.into(),
                }),
                other => malformed.push(Rejection {
                    name: r.name,
                    reason: match other {
                        Some(any) => format!("is a {}", any.type_url),
                        None => "has no body".to_owned(),
                    },
                }),
            }
        }
        let update = Update {
            resources,
            malformed,
            removed: response.removed_resources,
            first: !state.synced,
            type_url: response.type_url,
        };
        Some((update, response.nonce))
    }

    /// Records what was accepted and gives the ACK or NACK. Malformed resources are refused in any
    /// case.
    pub fn answer(
        &mut self,
        update: &Update,
        nonce: String,
        rejections: &[Rejection],
    ) -> DeltaDiscoveryRequest {
        if let Some(state) = self.types.get_mut(&update.type_url) {
            state.synced = true;
            for name in &update.removed {
                state.versions.remove(name);
            }
            for r in &update.resources {
                // A rejected resource is fetched again after a reconnect.
                if rejections.iter().any(|bad| bad.name == r.name) {
                    state.versions.remove(&r.name);
                } else {
                    state.versions.insert(r.name.clone(), r.version.clone());
                }
            }
        }
        let refused: Vec<_> = update.malformed.iter().chain(rejections).collect();
        let error_detail = (!refused.is_empty()).then(|| ErrorDetail {
            code: INVALID_ARGUMENT,
            message: refused
                .iter()
                .map(|r| format!("{}: {}", r.name, r.reason))
                .collect::<Vec<_>>()
                .join("; "),
        });
        DeltaDiscoveryRequest {
            type_url: update.type_url.clone(),
            response_nonce: nonce,
            error_detail,
            ..Default::default()
        }
    }
}
