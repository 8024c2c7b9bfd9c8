//! Single requests: reading, creating and replacing one object, with a deadline and named failures.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;

/// An answer to a request that is no watch must be there after this.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// Where an object is: what its path in the API is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Lower-case plural.
    pub plural: String,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Address {
    /// An object of a namespace, by `apiVersion`, `kind` and plural of its kind.
    pub fn new(api_version: &str, kind: &str, plural: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespace: None,
            name: String::new(),
        }
    }

    /// In this namespace.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Where a document says it is. The plural is guessed as `kubectl` does.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let api_version = text(object, "apiVersion")?;
        let kind = text(object, "kind")?;
        let meta = object.get("metadata")?;
        let name = text(meta, "name").filter(|name| !name.is_empty())?;
        let (group, version) = api_version
            .split_once('/')
            .unwrap_or(("", api_version.as_str()));
        let gvk = GroupVersionKind::gvk(group, version, &kind);
        let plural = ApiResource::from_gvk(&gvk).plural;
        let mut address = Self::new(&api_version, &kind, &plural).named(&name);
        address.namespace = text(meta, "namespace").filter(|namespace| !namespace.is_empty());
        Some(address)
    }

    /// `apiVersion`.
    pub(super) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    pub(super) fn api(&self, client: &Client) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(&self.group, &self.version, &self.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &self.plural);
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Why the server did not do it.
#[derive(Debug, Error)]
pub enum Cause {
    /// It did not answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// It refused, or could not be reached.
    #[error("the API server did not do it")]
    Api(#[source] kube::Error),
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum RequestError {
    /// A document without apiVersion, kind or name.
    #[error("an object needs apiVersion, kind and metadata.name")]
    Nameless,
    /// A document that is no object.
    #[error("cannot read {address} as an object")]
    Form {
        /// Which.
        address: Box<Address>,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// The server did not do it.
    #[error("cannot {verb} {address}")]
    Request {
        /// What was asked.
        verb: &'static str,
        /// Of which object.
        address: Box<Address>,
        /// Cause.
        #[source]
        source: Box<Cause>,
    },
}

impl RequestError {
    /// Whether someone else changed or made the object first (409).
    pub fn is_conflict(&self) -> bool {
        self.has_code(409)
    }

    /// Whether the object, its namespace or its kind is not there (404).
    pub fn is_missing(&self) -> bool {
        self.has_code(404)
    }

    /// Whether this account may not do it, or not any more (403).
    pub fn is_denied(&self) -> bool {
        self.has_code(403)
    }

    /// Whether the token counts no more (401): the account is gone, or the pod that the token is bound to.
    pub fn is_unknown_caller(&self) -> bool {
        self.has_code(401)
    }

    fn has_code(&self, code: u16) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(&**source, Cause::Api(error) if is_code(error, code))
    }
}

/// Whether the server answered with this status.
pub(super) fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// The object as the server has it; `None` when it is not there.
///
/// # Errors
/// [`RequestError`].
pub async fn read(client: &Client, address: &Address) -> Result<Option<Value>, RequestError> {
    let api = address.api(client);
    let found = within("read", address, api.get_opt(&address.name)).await?;
    found.map(|object| to_value(address, &object)).transpose()
}

/// Makes an object; the server's version of it.
///
/// # Errors
/// [`RequestError`]; [`RequestError::is_conflict`] when it is there already.
pub async fn create(client: &Client, object: &Value) -> Result<Value, RequestError> {
    let (address, object) = parts(object)?;
    let (api, params) = (address.api(client), PostParams::default());
    let made = within("create", &address, api.create(&params, &object)).await?;
    to_value(&address, &made)
}

/// Replaces an object. With `metadata.resourceVersion` only if nobody changed it since.
///
/// # Errors
/// [`RequestError`]; [`RequestError::is_conflict`] when somebody did.
pub async fn replace(client: &Client, object: &Value) -> Result<Value, RequestError> {
    let (address, object) = parts(object)?;
    let (api, params) = (address.api(client), PostParams::default());
    let name = address.name.clone();
    let done = within("replace", &address, api.replace(&name, &params, &object)).await?;
    to_value(&address, &done)
}

/// One request under the deadline.
pub(super) async fn within<T>(
    verb: &'static str,
    address: &Address,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    let source = match timeout(DEADLINE, request).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => Cause::Api(error),
        Err(_) => Cause::Deadline,
    };
    Err(RequestError::Request {
        verb,
        address: Box::new(address.clone()),
        source: Box::new(source),
    })
}

fn parts(object: &Value) -> Result<(Address, DynamicObject), RequestError> {
    let address = Address::of(object).ok_or(RequestError::Nameless)?;
    match DynamicObject::deserialize(object) {
        Ok(object) => Ok((address, object)),
        Err(source) => Err(RequestError::Form {
            address: Box::new(address),
            source,
        }),
    }
}

fn to_value(address: &Address, object: &DynamicObject) -> Result<Value, RequestError> {
    serde_json::to_value(object).map_err(|source| RequestError::Form {
        address: Box::new(address.clone()),
        source,
    })
}
