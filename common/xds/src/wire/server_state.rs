//! The server's half, for one stream: what this caller still lacks.
//! Make before break: a type waits until the types it refers to are answered, and what others may
//! still refer to is removed last. Changes that happen meanwhile are merged into the next response.
//! Holds the `ResourceSet` last sent (shared), not a list of names.

use super::subscription::Subscription;
use crate::caller::{Caller, Role};
use crate::resource_set::{Audience, Resource, ResourceSet};
use ambit_api::discovery as pb;
use ambit_api::type_urls;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// Types in the order they are sent: what others refer to goes first.
const ORDER: [&str; 6] = [
    type_urls::AUTHORIZATION,
    type_urls::ADDRESS,
    type_urls::CLUSTER,
    type_urls::ENDPOINTS,
    type_urls::GATEWAY,
    type_urls::ROUTER,
];

/// Types that others refer to: their removals go out when nothing refers to them any more.
const REFERRED_TO: [&str; 3] = [
    type_urls::AUTHORIZATION,
    type_urls::CLUSTER,
    type_urls::ENDPOINTS,
];

/// Names one stream may subscribe to, per type.
const MOST_NAMES: usize = 100_000;

/// Why a stream is ended.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// A type this caller may not subscribe to, or that does not exist.
    #[error("{type_url} is not served to this caller")]
    NotServed {
        /// What was asked for.
        type_url: String,
    },
    /// More names than a node can have use for.
    #[error("more than {MOST_NAMES} names of {type_url}")]
    TooManyNames {
        /// Of what type.
        type_url: &'static str,
    },
}

/// What an incoming request meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A type was subscribed to, or its names changed.
    Subscribed,
    /// A response was accepted.
    Ack,
    /// A response was refused in part or whole.
    Nack {
        /// `type.googleapis.com/…`.
        type_url: String,
        /// The client's words.
        reason: String,
    },
    /// An answer to a response that is no longer the latest.
    Stale,
}

#[derive(Debug)]
struct TypeState {
    subscription: Subscription,
    /// What the client has, when it has anything from this stream.
    sent: Option<Arc<ResourceSet>>,
    /// What it says to have from an earlier stream.
    initial: BTreeMap<String, String>,
    /// Names to answer even if nothing changed.
    asked: BTreeSet<String>,
    /// Removals that wait until nothing refers to them.
    held: BTreeSet<String>,
    unanswered: Option<String>,
}

/// One stream.
#[derive(Debug)]
pub struct ServerState {
    caller: Caller,
    types: BTreeMap<&'static str, TypeState>,
    next_nonce: u64,
}

impl ServerState {
    /// A fresh stream of an authorized caller.
    pub fn new(caller: Caller) -> Self {
        Self {
            caller,
            types: BTreeMap::new(),
            next_nonce: 1,
        }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The stream must be ended.
    pub fn on_request(&mut self, r: pb::DeltaDiscoveryRequest) -> Result<Event, ProtocolError> {
        let type_url = *ORDER
            .iter()
            .find(|t| **t == r.type_url && self.served(t))
            .ok_or_else(|| ProtocolError::NotServed {
                type_url: r.type_url.chars().take(128).collect(),
            })?;
        let Some(state) = self.types.get_mut(type_url) else {
            let subscription =
                Subscription::first(&r.resource_names_subscribe, &r.resource_names_unsubscribe);
            let asked = subscription.names().cloned().collect();
            let state = TypeState {
                subscription,
                sent: None,
                initial: r.initial_resource_versions,
                asked,
                held: BTreeSet::new(),
                unanswered: None,
            };
            state.bounded(type_url)?;
            self.types.insert(type_url, state);
            return Ok(Event::Subscribed);
        };
        let had_everything = state.subscription.is_wildcard();
        let added = state
            .subscription
            .change(&r.resource_names_subscribe, &r.resource_names_unsubscribe);
        state.asked.extend(added);
        state.bounded(type_url)?;
        if state.subscription.is_wildcard() && !had_everything {
            state.sent = None;
        }
        if r.response_nonce.is_empty() {
            return Ok(Event::Subscribed);
        }
        if state.unanswered.as_deref() != Some(r.response_nonce.as_str()) {
            return Ok(Event::Stale);
        }
        state.unanswered = None;
        Ok(match r.error_detail {
            Some(error) => Event::Nack {
                type_url: r.type_url,
                reason: error.message,
            },
            None => Event::Ack,
        })
    }

    /// The next response this stream should get, if any.
    pub fn next_response(&mut self, set: &Arc<ResourceSet>) -> Option<pb::DeltaDiscoveryResponse> {
        for type_url in ORDER {
            let Some(state) = self.types.get_mut(type_url) else {
                continue;
            };
            if state.unanswered.is_some() {
                return None;
            }
            if let Some(response) = state.difference(type_url, set, &self.caller) {
                return Some(self.number(type_url, response));
            }
        }
        for type_url in ORDER {
            let held = self
                .types
                .get_mut(type_url)
                .map(|state| std::mem::take(&mut state.held));
            let removed_resources = Vec::from_iter(held.unwrap_or_default());
            if !removed_resources.is_empty() {
                let response = pb::DeltaDiscoveryResponse {
                    type_url: type_url.to_owned(),
                    system_version_info: set.generation().to_string(),
                    removed_resources,
                    ..Default::default()
                };
                return Some(self.number(type_url, response));
            }
        }
        None
    }

    /// How many resources the next response would have if it is the first of a type, else 0: that one
    /// holds everything.
    pub fn whole(&self, set: &ResourceSet) -> usize {
        for type_url in ORDER {
            match self.types.get(type_url) {
                Some(state) if state.unanswered.is_some() => return 0,
                Some(state) if state.sent.is_none() && state.subscription.is_wildcard() => {
                    return set.count(type_url);
                }
                _ => {}
            }
        }
        0
    }

    /// Whether a response is on its way.
    pub fn is_answered(&self) -> bool {
        self.types.values().all(|state| state.unanswered.is_none())
    }

    fn number(
        &mut self,
        type_url: &str,
        mut response: pb::DeltaDiscoveryResponse,
    ) -> pb::DeltaDiscoveryResponse {
        response.nonce = self.next_nonce.to_string();
        self.next_nonce += 1;
        if let Some(state) = self.types.get_mut(type_url) {
            state.unanswered = Some(response.nonce.clone());
        }
        response
    }

    /// Who is served.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Type → whether everything sent was answered, for `/debug/syncz`.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.types
            .iter()
            .map(|(t, s)| (*t, s.unanswered.is_none() && s.sent.is_some()))
    }

    fn served(&self, type_url: &str) -> bool {
        match self.caller.role {
            Role::Node => matches!(type_url, type_urls::ADDRESS | type_urls::AUTHORIZATION),
            Role::Gateway => type_url != type_urls::AUTHORIZATION,
        }
    }
}

impl TypeState {
    fn bounded(&self, type_url: &'static str) -> Result<(), ProtocolError> {
        if self.subscription.names().count() > MOST_NAMES {
            return Err(ProtocolError::TooManyNames { type_url });
        }
        Ok(())
    }

    fn difference(
        &mut self,
        type_url: &str,
        set: &Arc<ResourceSet>,
        caller: &Caller,
    ) -> Option<pb::DeltaDiscoveryResponse> {
        let first = self.sent.is_none();
        let mut response = pb::DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            system_version_info: set.generation().to_string(),
            ..Default::default()
        };
        match &self.sent {
            None => self.everything(type_url, set, caller, &mut response),
            Some(sent) if sent.generation() == set.generation() && self.asked.is_empty() => {
                return None;
            }
            Some(sent) => {
                for name in set.changed_since(sent, type_url) {
                    let known = |s: &ResourceSet| {
                        s.get(type_url, &name)
                            .filter(|r| {
                                sees(caller, &r.audience)
                                    && self.subscription.wants(&name, &r.aliases)
                            })
                            .cloned()
                    };
                    match (known(sent), known(set)) {
                        (_, Some(now)) => response.resources.push(encode(type_url, &name, &now)),
                        (Some(_), None) => response.removed_resources.push(name.to_string()),
                        (None, None) => {}
                    }
                }
            }
        }
        self.answer_asked(type_url, set, caller, &mut response);
        self.sent = Some(set.clone());
        for sent in &response.resources {
            self.held.remove(&sent.name);
        }
        if REFERRED_TO.contains(&type_url) {
            self.held
                .append(&mut response.removed_resources.drain(..).collect());
        }
        // The first answer to a wildcard is sent even when it is empty: it makes the client synced.
        let empty = response.resources.is_empty() && response.removed_resources.is_empty();
        let must = first && self.subscription.is_wildcard();
        (!empty || must).then_some(response)
    }

    /// The first response: all that is wanted, less what the client already has.
    fn everything(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        caller: &Caller,
        response: &mut pb::DeltaDiscoveryResponse,
    ) {
        let mut had = std::mem::take(&mut self.initial);
        for (name, r) in set.iter(type_url) {
            if !sees(caller, &r.audience) || !self.subscription.wants(name, &r.aliases) {
                continue;
            }
            let same = had.remove(&**name).is_some_and(|v| *v == *r.version);
            self.asked.remove(&**name);
            if !same {
                response.resources.push(encode(type_url, name, r));
            }
        }
        response.removed_resources.extend(had.into_keys());
    }

    /// Answers names asked for: a name that does not exist is removed, so that the client stops
    /// waiting for it.
    fn answer_asked(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        caller: &Caller,
        response: &mut pb::DeltaDiscoveryResponse,
    ) {
        for asked in std::mem::take(&mut self.asked) {
            let mut found = false;
            for name in set.resolve(type_url, &asked) {
                let Some(r) = set
                    .get(type_url, name)
                    .filter(|r| sees(caller, &r.audience))
                else {
                    continue;
                };
                found = true;
                if !response.resources.iter().any(|sent| sent.name == name) {
                    response.resources.push(encode(type_url, name, r));
                }
            }
            if !found && !response.removed_resources.contains(&asked) {
                response.removed_resources.push(asked);
            }
        }
    }
}

fn sees(caller: &Caller, audience: &Audience) -> bool {
    match (audience, caller.role) {
        (Audience::Everyone, _) | (Audience::Nodes, Role::Node) => true,
        (Audience::Nodes, Role::Gateway) | (Audience::Gateways(_), Role::Node) => false,
        (Audience::Gateways(accounts), Role::Gateway) => accounts.contains(&caller.service_account),
    }
}

fn encode(type_url: &str, name: &str, r: &Resource) -> pb::Resource {
    pb::Resource {
        name: name.to_owned(),
        version: r.version.to_string(),
        aliases: r.aliases.to_vec(),
        resource: Some(prost_types::Any {
            type_url: type_url.to_owned(),
            value: r.body.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests;
