//! xDS in, the next snapshot out.
//! In: one update of one type. Out: a stored snapshot, and the resources that could not be used, with
//! the field that is wrong; the good ones of the same update are applied.
//! Owns: the right to store. Runs on the task of the xDS client.
//! Spec: `istio.workload.Address`, `istio.security.Authorization`.

use super::State;
use ambit_api::{security, type_urls, workload};
use ambit_model::convert::{self, ConvertError};
use ambit_model::snapshot::{Change, Synced};
use ambit_runtime::readiness::Gate;
use ambit_xds::{Handler, Rejection, ResourceUpdate, Update};
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use std::sync::Arc;

/// Writes xDS updates into a [`State`].
#[derive(Debug)]
pub struct Writer {
    state: Arc<State>,
    synced: Gate,
    refused: Counter,
}

impl Writer {
    /// The only writer of `state`; opens `synced` after the first full response of both types;
    /// counts in `refused` what could not be used.
    pub fn new(state: Arc<State>, synced: Gate, refused: Counter) -> Self {
        Self {
            state,
            synced,
            refused,
        }
    }

    /// Types to subscribe to. Policies come first: a workload that names one which is not known yet
    /// would be closed until then.
    pub const TYPES: [&'static str; 2] = [type_urls::AUTHORIZATION, type_urls::ADDRESS];
}

impl Handler for Writer {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let mut rejected = Vec::new();
        let addresses = update.type_url == type_urls::ADDRESS;
        let mut changes = Vec::with_capacity(update.resources.len() + update.removed.len() + 1);
        for resource in &update.resources {
            let converted = if addresses {
                address(resource)
            } else {
                authorization(resource)
            };
            match converted {
                Ok(change) => changes.push(change),
                Err(reason) => {
                    rejected.push(Rejection {
                        name: resource.name.clone(),
                        reason,
                    });
                }
            }
        }
        for name in &update.removed {
            let name = name.clone();
            changes.push(if addresses {
                Change::RemoveAddress(name)
            } else {
                Change::RemovePolicy(name)
            });
        }
        changes.push(Change::Synced(Synced {
            addresses,
            authorizations: !addresses,
        }));
        let unusable = rejected.len() + update.malformed.len();
        self.refused.inc_by(unusable as u64);
        let next = self.state.load().apply(changes);
        let complete = next.synced().complete();
        self.state.store(next);
        if complete {
            self.synced.open();
        }
        rejected
    }
}

fn address(resource: &ResourceUpdate) -> Result<Change, String> {
    use workload::address::Type;
    let message = workload::Address::decode(&*resource.body).map_err(|e| e.to_string())?;
    let named = |error: ConvertError| error.to_string();
    match message.r#type {
        Some(Type::Workload(w)) => convert::workload::from_proto(w)
            .map(Change::Workload)
            .map_err(named),
        Some(Type::Service(s)) => convert::service::from_proto(s)
            .map(Change::Service)
            .map_err(named),
        None => Err("neither a workload nor a service".to_owned()),
    }
}

fn authorization(resource: &ResourceUpdate) -> Result<Change, String> {
    let message = security::Authorization::decode(&*resource.body).map_err(|e| e.to_string())?;
    convert::authorization::from_proto(message)
        .map(Change::Policy)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_model::ids::WorkloadUid;
    use ambit_runtime::readiness::Readiness;

    fn resource(name: &str, body: Vec<u8>) -> ResourceUpdate {
        ResourceUpdate {
            name: name.into(),
            version: "1".into(),
            body: body.into(),
        }
    }

    fn pod(uid: &str) -> ResourceUpdate {
        let workload = workload::Workload {
            uid: uid.into(),
            namespace: "shop".into(),
            ..Default::default()
        };
        let r#type = Some(workload::address::Type::Workload(workload));
        resource(uid, workload::Address { r#type }.encode_to_vec())
    }

    fn update(type_url: &str, resources: Vec<ResourceUpdate>, removed: &[&str]) -> Update {
        Update {
            type_url: type_url.into(),
            resources,
            malformed: Vec::new(),
            removed: removed.iter().map(|r| (*r).to_owned()).collect(),
            first: false,
        }
    }

    #[test]
    fn good_resources_of_a_bad_response_are_kept() {
        let state = State::new(ambit_model::Snapshot::default());
        let readiness = Readiness::new();
        let mut writer = Writer::new(state.clone(), readiness.gate("state"), Counter::default());
        let bad = resource("bad", vec![0xff]);
        let rejected = writer.apply(&update(
            type_urls::ADDRESS,
            vec![bad, pod("c//Pod/shop/a")],
            &[],
        ));
        assert_eq!(
            rejected.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
            ["bad"]
        );
        let uid = WorkloadUid::from("c//Pod/shop/a");
        assert!(state.load().workload(&uid).is_some());
        assert!(!readiness.is_ready(), "policies are not known yet");
        writer.apply(&update(type_urls::AUTHORIZATION, vec![], &[]));
        assert!(readiness.is_ready() && state.load().synced().complete());
        writer.apply(&update(type_urls::ADDRESS, vec![], &["c//Pod/shop/a"]));
        assert!(state.load().workload(&uid).is_none());
    }
}
