//! Writing to the API server: statuses and objects by server-side apply, annotations by merge patch.
//! In: what is wanted. Out: one request each, under a deadline; an object that is gone is no error.
//! Must not: decide what is written, or write a spec that is not its own.
//! Spec: Kubernetes server-side apply; Gateway API `RouteStatus.parents` (shared, atomic list).

use super::request::{Address, RequestError, within};
use ambit_crds::{CONTROLLER_NAME, Kind, ObjectKey};
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Tries of a write that must not lose what others write at the same time.
const TRIES: usize = 4;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Done,
    /// The object, its namespace or its kind is not there.
    Absent,
}

/// Writes under the name of one field manager.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    manager: String,
}

impl Writer {
    /// A writer. `manager` is the field manager, such as `ambit-controller`.
    pub fn new(client: Client, manager: &str) -> Self {
        Self {
            client,
            manager: manager.to_owned(),
        }
    }

    /// Sets the parts of an object's status that this manager owns; null withdraws them all.
    /// In a route's status the entries of other controllers stay.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn status(&self, key: &ObjectKey, status: &Value) -> Result<Outcome, RequestError> {
        for version in key.kind.versions() {
            let address = address(key, version);
            let done = match key.kind {
                Kind::HttpRoute | Kind::GrpcRoute => self.route_status(&address, status).await?,
                _ => self.apply_status(&address, status).await?,
            };
            if done == Outcome::Done {
                return Ok(done);
            }
        }
        Ok(Outcome::Absent)
    }

    async fn apply_status(
        &self,
        address: &Address,
        status: &Value,
    ) -> Result<Outcome, RequestError> {
        let mut object = skeleton(address);
        if !status.is_null() {
            object["status"] = status.clone();
        }
        let api = address.api(&self.client);
        let (params, patch) = (self.forced(), Patch::Apply(&object));
        let request = api.patch_status(&address.name, &params, &patch);
        outcome(within("write the status of", address, request).await)
    }

    /// `parents` is one list for all controllers: ours are exchanged, unless it changed meanwhile.
    async fn route_status(
        &self,
        address: &Address,
        status: &Value,
    ) -> Result<Outcome, RequestError> {
        let api = address.api(&self.client);
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let now = within("read", address, api.get_opt(&address.name)).await?;
            let Some(now) = now else {
                return Ok(Outcome::Absent);
            };
            let before = now.data.get("status").and_then(|s| s.get("parents"));
            let parents = join_parents(before, status.get("parents"));
            if before == Some(&parents) {
                return Ok(Outcome::Done);
            }
            let patch = Patch::Merge(json!({
                "metadata": {"resourceVersion": now.metadata.resource_version},
                "status": {"parents": parents},
            }));
            let params = PatchParams {
                field_manager: Some(self.manager.clone()),
                ..PatchParams::default()
            };
            let request = api.patch_status(&address.name, &params, &patch);
            match within("write the status of", address, request).await {
                Err(error) if error.is_conflict() && tries > 0 => {}
                result => return outcome(result),
            }
        }
    }

    /// Sets annotations of a pod, and removes those given as `None`, through its status: the right to
    /// patch `pods/status` is enough. `uid` is the pod meant; a later one of its name is left alone.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn annotate_pod(
        &self,
        key: (&str, &str),
        uid: Option<&str>,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<Outcome, RequestError> {
        let (namespace, name) = key;
        let address = Address::new("v1", "Pod", "pods")
            .within(namespace)
            .named(name);
        let mut metadata = json!({ "annotations": annotations });
        if let Some(uid) = uid {
            metadata["uid"] = uid.into();
        }
        let params = PatchParams {
            field_manager: Some(self.manager.clone()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let api = address.api(&self.client);
        let request = api.patch_status(name, &params, &patch);
        match within("annotate", &address, request).await {
            // The name belongs to another pod now.
            Err(error) if uid.is_some() && error.is_conflict() => Ok(Outcome::Absent),
            result => outcome(result),
        }
    }

    /// Makes an object as given, or sets what is given of an object that is there.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn apply(&self, object: &Value) -> Result<Outcome, RequestError> {
        let address = Address::of(object).ok_or(RequestError::Nameless)?;
        let api = address.api(&self.client);
        let (params, patch) = (self.forced(), Patch::Apply(object));
        let request = api.patch(&address.name, &params, &patch);
        outcome(within("apply", &address, request).await)
    }

    /// Changes an object by JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn merge(&self, address: &Address, patch: &Value) -> Result<Outcome, RequestError> {
        let params = PatchParams {
            field_manager: Some(self.manager.clone()),
            ..PatchParams::default()
        };
        let api = address.api(&self.client);
        let patch = Patch::Merge(patch);
        let request = api.patch(&address.name, &params, &patch);
        outcome(within("change", address, request).await)
    }

    /// Deletes an object, and in the background what it owns.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete(&self, address: &Address) -> Result<Outcome, RequestError> {
        let api = address.api(&self.client);
        let params = DeleteParams::background();
        let request = api.delete(&address.name, &params);
        outcome(within("delete", address, request).await)
    }

    /// Two managers of one field would stop both: what is ours by contract is taken.
    fn forced(&self) -> PatchParams {
        PatchParams::apply(&self.manager).force()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}

fn outcome<T>(result: Result<T, RequestError>) -> Result<Outcome, RequestError> {
    match result {
        Ok(_) => Ok(Outcome::Done),
        Err(error) if error.is_missing() => Ok(Outcome::Absent),
        Err(error) => Err(error),
    }
}

fn address(key: &ObjectKey, version: &str) -> Address {
    let api_version = match key.kind.group() {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    let address = Address::new(&api_version, key.kind.as_str(), &key.kind.plural());
    let address = address.named(&key.name);
    match key.kind.is_namespaced() {
        true => address.within(&key.namespace),
        false => address,
    }
}

fn skeleton(address: &Address) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".into(), address.name.clone().into());
    if let Some(namespace) = &address.namespace {
        metadata.insert("namespace".into(), namespace.clone().into());
    }
    json!({"apiVersion": address.api_version(), "kind": address.kind, "metadata": metadata})
}

/// The entries of other controllers as they are, and ours as wanted.
fn join_parents(now: Option<&Value>, wanted: Option<&Value>) -> Value {
    let list = |value: Option<&Value>| {
        let items = value.and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    let mut parents = list(now);
    parents.retain(|parent| parent.get("controllerName") != Some(&CONTROLLER_NAME.into()));
    parents.extend(list(wanted));
    Value::Array(parents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_other_controllers_stay() {
        let foreign = json!({"controllerName": "example.com/ingress", "parentRef": {"name": "a"}});
        let ours =
            |name: &str| json!({"controllerName": CONTROLLER_NAME, "parentRef": {"name": name}});
        let now = json!([ours("x"), foreign]);
        let wanted = json!([ours("y")]);
        assert_eq!(
            join_parents(Some(&now), Some(&wanted)),
            json!([foreign, ours("y")])
        );
        assert_eq!(join_parents(Some(&now), None), json!([foreign]));
        assert_eq!(join_parents(None, None), json!([]));
    }
}
