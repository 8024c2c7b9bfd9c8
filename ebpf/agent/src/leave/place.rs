//! What the API server says of a DaemonSet's place on this node.
//! In: a DaemonSet and the node by name. Out: [`Place`]. Owns nothing.
//! Must not happen here: a word that it is not wanted unless both objects were read and say so.

use std::time::Duration;

use ambit_runtime::causes::causes;
use ambit_source::kubernetes::{Address, Client, RequestError, read};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::fit::wants;

/// A DaemonSet's place on a node.
#[derive(Debug)]
pub enum Place {
    /// It is there and wants a pod here, for all that is known.
    Wanted,
    /// It is there and wants none here.
    Unwanted,
    /// It is gone or going.
    Gone,
    /// The server does not say.
    Unknown(Option<RequestError>),
}

/// Asks for both objects.
pub async fn ask(client: &Client, (namespace, set): (&str, &str), node: &str) -> Place {
    let address = Address::new("apps/v1", "DaemonSet", "daemonsets")
        .within(namespace)
        .named(set);
    let set: DaemonSet = match found(client, &address).await {
        Ok(Some(set)) => set,
        Ok(None) => return Place::Gone,
        Err(error) => return Place::Unknown(error),
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Place::Gone;
    }
    let address = Address::new("v1", "Node", "nodes").named(node);
    match found::<Node>(client, &address).await {
        Ok(Some(node)) if !wants(&set, &node) => Place::Unwanted,
        Ok(_) => Place::Wanted,
        Err(error) => {
            if let Some(error) = error {
                tracing::warn!(error = %causes(&error), "cannot ask for the node");
            }
            Place::Wanted
        }
    }
}

async fn found<T: DeserializeOwned>(
    client: &Client,
    address: &Address,
) -> Result<Option<T>, Option<RequestError>> {
    let Ok(answer) = timeout(ASKING, read(client, address)).await else {
        return Err(None);
    };
    let Some(value) = answer.map_err(Some)? else {
        return Ok(None);
    };
    match serde_json::from_value(value) {
        Ok(object) => Ok(Some(object)),
        Err(error) => {
            tracing::warn!(object = %address, %error, "cannot be read");
            Err(None)
        }
    }
}

/// The API server answers at once or is in trouble.
const ASKING: Duration = Duration::from_secs(5);
