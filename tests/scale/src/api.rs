//! The API server, as `kubectl` speaks to it.
//! In: paths and JSON. Out: what it answers. Every request has a deadline.

use anyhow::{Context as _, Result, anyhow};
use http::{Method, Request};
use kube::Client;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// A request that took longer is lost.
const DEADLINE: Duration = Duration::from_secs(60);

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// A client.
#[derive(Clone)]
pub(crate) struct Api(Client);

impl Api {
    /// By kubeconfig.
    pub(crate) async fn connect(kubeconfig: &Path) -> Result<Self> {
        let client = ambit_source::kubernetes::connect(Some(kubeconfig)).await?;
        Ok(Self(client))
    }

    /// Creates an object at the path of its collection. One that is there stays as it is.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<()> {
        match self.send(Method::POST, path, (JSON, object)).await {
            Err(error) if is_code(&error, 409) => Ok(()),
            answer => answer
                .map(drop)
                .with_context(|| format!("create {path}: {object}")),
        }
    }

    /// Creates what has an answer of interest, such as a token.
    pub(crate) async fn ask(&self, path: &str, object: &Value) -> Result<Value> {
        let answer = self.send(Method::POST, path, (JSON, object)).await;
        answer.with_context(|| format!("POST {path}"))
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> Result<()> {
        let answer = self.send(Method::PATCH, path, (MERGE, patch)).await;
        answer.map(drop).with_context(|| format!("PATCH {path}"))
    }

    /// Deletes; what is not there needs no deleting.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match self.send(Method::DELETE, path, (JSON, &Value::Null)).await {
            Err(error) if is_code(&error, 404) => Ok(()),
            answer => answer.map(drop).with_context(|| format!("DELETE {path}")),
        }
    }

    /// What is there; `None` if nothing is.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.send(Method::GET, path, (JSON, &Value::Null)).await {
            Err(error) if is_code(&error, 404) => Ok(None),
            answer => answer.map(Some).with_context(|| format!("GET {path}")),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        (kind, body): (&str, &Value),
    ) -> Result<Value> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(body)
            .context("make a request")?;
        let answer = timeout(DEADLINE, self.0.request::<Value>(request)).await;
        answer
            .map_err(|_| anyhow!("no answer in {DEADLINE:?}"))?
            .map_err(anyhow::Error::from)
    }
}

fn is_code(error: &anyhow::Error, code: u16) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == code)
}
