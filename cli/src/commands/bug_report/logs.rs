//! Logs of the mesh's pods, of now and of containers that were restarted.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::Value;

use super::Report;
use crate::install::{AMBIT, PART_OF};

/// Of one container.
const LARGEST: i64 = 16 << 20;

impl Report<'_> {
    /// Logs, one file per container.
    pub(super) async fn logs(&mut self) -> Result<()> {
        let own = format!("{PART_OF}={AMBIT}");
        let waypoints = format!(
            "{},{}",
            ambit_api::labels::GATEWAY_NAME,
            ambit_api::labels::MANAGED
        );
        let namespace = self.place.namespace.clone();
        let mut pods = Vec::new();
        for (scope, selector) in [(Some(namespace.as_str()), own), (None, waypoints)] {
            match self.cluster.list("v1", "Pod", scope, &selector).await {
                Ok(found) => pods.extend(found),
                Err(e) => self.archive.failed("logs", &e),
            }
        }
        for pod in &pods {
            self.of_pod(pod).await?;
        }
        Ok(())
    }

    async fn of_pod(&mut self, pod: &Value) -> Result<()> {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let statuses = pod["status"]["containerStatuses"].as_array();
        for status in statuses.into_iter().flatten() {
            let container = status["name"].as_str().unwrap_or_default();
            self.bar.set_message(format!("log of {name}"));
            let restarted = status["restartCount"].as_u64().unwrap_or(0) > 0;
            for previous in [false, true] {
                if previous && !restarted {
                    continue;
                }
                let file = if previous { "previous.log" } else { "log" };
                let path = format!("logs/{namespace}_{name}/{container}.{file}");
                match self.log((namespace, name, container), previous).await {
                    Ok(text) => self.archive.text(&path, &text)?,
                    Err(e) => self.archive.failed(&path, &e),
                }
            }
        }
        Ok(())
    }

    async fn log(
        &self,
        (namespace, pod, container): (&str, &str, &str),
        previous: bool,
    ) -> Result<String> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            limit_bytes: Some(LARGEST),
            since_seconds: i64::try_from(self.args.since.as_secs()).ok(),
            timestamps: true,
            ..LogParams::default()
        };
        api.logs(pod, &params)
            .await
            .with_context(|| format!("log of {namespace}/{pod}"))
    }
}
