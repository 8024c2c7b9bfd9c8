//! Objects of any kind.

use anyhow::{Context, Result};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PropagationPolicy,
};
use serde_json::Value;

use super::Cluster;
use crate::install::MANAGER;

/// What applying changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was not there
    Created,
    /// It was there and differed
    Configured,
    /// Nothing
    Unchanged,
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// `Kind namespace/name` of a document.
pub(crate) fn name_of(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    let (kind, namespace, name) = (
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name"),
    );
    if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    }
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Cluster {
    /// The API of a kind, in a namespace or of the whole cluster.
    pub(crate) fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        let resource = resource(api_version, kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let version = text("/apiVersion").unwrap_or_default();
        self.api(
            version,
            text("/kind").unwrap_or_default(),
            text("/metadata/namespace"),
        )
    }

    /// The object as the cluster has it.
    ///
    /// # Errors
    /// If the server does not answer or refuses. A kind it does not know has no objects.
    pub(crate) async fn live(&self, object: &Value) -> Result<Option<Value>> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let found = self
            .api_of(object)
            .get_opt(name)
            .await
            .with_context(|| format!("read {}", name_of(object)))?;
        found
            .map(|o| serde_json::to_value(o).context("an object as JSON"))
            .transpose()
    }

    /// Server-side apply; what others set is left alone, what this command sets is its own.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub(crate) async fn apply(&self, object: &Value, dry_run: bool) -> Result<Applied> {
        let before = self.live(object).await?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
        let after = self
            .api_of(object)
            .patch(name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("apply {}", name_of(object)))?;
        Ok(match before {
            None => Applied::Created,
            Some(before) if !dry_run => {
                let version = before
                    .pointer("/metadata/resourceVersion")
                    .and_then(Value::as_str);
                if version == after.metadata.resource_version.as_deref() {
                    Applied::Unchanged
                } else {
                    Applied::Configured
                }
            }
            Some(before) => {
                let after = serde_json::to_value(&after)?;
                if before["spec"] == after["spec"]
                    && before["metadata"]["labels"] == after["metadata"]["labels"]
                {
                    Applied::Unchanged
                } else {
                    Applied::Configured
                }
            }
        })
    }

    /// Deletes an object with what it owns. `false`: it was not there.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub(crate) async fn delete(&self, object: &Value) -> Result<bool> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.api_of(object).delete(name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(e) => Err(e).with_context(|| format!("delete {}", name_of(object))),
        }
    }

    /// All objects of a kind by label; none where the cluster does not know the kind.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub(crate) async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>> {
        let params = ListParams::default().labels(labels);
        let listed = match self.api(api_version, kind, namespace).list(&params).await {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(e) => return Err(e).with_context(|| format!("list objects of kind {kind}")),
        };
        let typed = |object: DynamicObject| {
            let mut value = serde_json::to_value(object)?;
            // Members of a list do not repeat what they are.
            value["apiVersion"] = api_version.into();
            value["kind"] = kind.into();
            Ok(value)
        };
        listed.into_iter().map(typed).collect()
    }
}
