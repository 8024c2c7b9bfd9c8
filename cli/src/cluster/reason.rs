//! Why a workload is not ready, in one line.
//! In: its pods and their events. Out: the first thing that someone could do something about.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::Value;

use super::{Cluster, Workload};

impl Cluster {
    /// The reason, or that nothing is known.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn reason(&self, workload: &Workload) -> Result<String> {
        let pods = self
            .list(
                "v1",
                "Pod",
                Some(workload.namespace()),
                &workload.selector(),
            )
            .await?;
        if pods.is_empty() {
            let event = self
                .last_warning(workload.namespace(), workload.name())
                .await?;
            return Ok(event.unwrap_or_else(|| "no pod yet".to_owned()));
        }
        for pod in &pods {
            let Some(trouble) = trouble(pod) else {
                continue;
            };
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let node = pod["spec"]["nodeName"].as_str().unwrap_or("no node");
            let event = self.last_warning(workload.namespace(), name).await?;
            let event = event.map(|e| format!(" ({e})")).unwrap_or_default();
            let said = match crashed(pod) {
                Some(container) => self.last_words(workload.namespace(), name, container).await,
                None => None,
            };
            let said = said
                .map(|line| format!("; it said: {line}"))
                .unwrap_or_default();
            return Ok(format!("pod {name} on {node}: {trouble}{event}{said}"));
        }
        Ok("its pods are starting".to_owned())
    }

    /// The last line a container wrote before it ended, if the node still has it.
    async fn last_words(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        for previous in [true, false] {
            let params = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(5),
                ..LogParams::default()
            };
            let Ok(text) = api.logs(pod, &params).await else {
                continue;
            };
            if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                return Some(line.trim().to_owned());
            }
        }
        None
    }

    /// The newest warning about an object, or about what the object of that name made.
    async fn last_warning(&self, namespace: &str, name: &str) -> Result<Option<String>> {
        let params = ListParams::default().fields("type=Warning");
        let events = self
            .api("v1", "Event", Some(namespace))
            .list(&params)
            .await?;
        let newest = events
            .items
            .iter()
            .filter(|e| {
                let about = e
                    .data
                    .pointer("/involvedObject/name")
                    .and_then(Value::as_str);
                about.is_some_and(|about| {
                    about == name || about.strip_prefix(name).is_some_and(|r| r.starts_with('-'))
                })
            })
            .max_by_key(|e| {
                let time = |pointer| {
                    e.data
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                time("/lastTimestamp").max(time("/eventTime")).to_owned()
            });
        Ok(newest.map(|e| {
            let text = |key: &str| e.data.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{}: {}", text("reason"), text("message"))
        }))
    }
}

/// What keeps a pod from being ready; `None` if it is. Pure.
pub(crate) fn trouble(pod: &Value) -> Option<String> {
    let conditions: Vec<&Value> = list(pod, "/status/conditions").collect();
    let condition = |kind: &str| conditions.iter().find(|c| c["type"] == kind);
    if condition("Ready").is_some_and(|c| c["status"] == "True") {
        return None;
    }
    if let Some(c) = condition("PodScheduled").filter(|c| c["status"] == "False") {
        return Some(format!(
            "not scheduled: {}",
            c["message"].as_str().unwrap_or_default()
        ));
    }
    let containers =
        list(pod, "/status/initContainerStatuses").chain(list(pod, "/status/containerStatuses"));
    for container in containers {
        let name = container["name"].as_str().unwrap_or_default();
        if let Some(waiting) = container.pointer("/state/waiting") {
            let reason = waiting["reason"].as_str().unwrap_or("waiting");
            if reason == "PodInitializing" {
                continue;
            }
            let ended = container
                .pointer("/lastState/terminated")
                .map(ended)
                .unwrap_or_default();
            let message = waiting["message"]
                .as_str()
                .map(|m| format!(": {m}"))
                .unwrap_or_default();
            return Some(format!("container {name} {reason}{message}{ended}"));
        }
        if let Some(terminated) = container
            .pointer("/state/terminated")
            .filter(|t| t["exitCode"] != 0)
        {
            return Some(format!("container {name}{}", ended(terminated)));
        }
        if container["ready"] == false && container.pointer("/state/running").is_some() {
            return Some(format!("container {name} runs and is not ready"));
        }
    }
    Some(format!(
        "phase {}",
        pod["status"]["phase"].as_str().unwrap_or("unknown")
    ))
}

/// The first container that ended with an error. Pure.
fn crashed(pod: &Value) -> Option<&str> {
    let failed = |state: &Value| state.is_object() && state["exitCode"] != 0;
    list(pod, "/status/initContainerStatuses")
        .chain(list(pod, "/status/containerStatuses"))
        .find(|c| failed(&c["lastState"]["terminated"]) || failed(&c["state"]["terminated"]))
        .and_then(|c| c["name"].as_str())
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn ended(terminated: &Value) -> String {
    let reason = terminated["reason"].as_str().unwrap_or("ended");
    format!(" ({reason}, exit code {})", terminated["exitCode"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_reason_is_the_one_that_kubernetes_gives() {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(trouble(&ready), None);
        let waiting = json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": "agent", "ready": false,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }]}});
        assert_eq!(
            trouble(&waiting).unwrap(),
            "container agent ImagePullBackOff: no such image"
        );
        let crashed = json!({"status": {"containerStatuses": [{
            "name": "agent", "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 2}},
        }]}});
        assert_eq!(super::crashed(&crashed), Some("agent"));
        assert_eq!(super::crashed(&waiting), None);
        assert_eq!(
            trouble(&crashed).unwrap(),
            "container agent CrashLoopBackOff (Error, exit code 2)"
        );
        let unscheduled = json!({"status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"},
        ]}});
        assert_eq!(
            trouble(&unscheduled).unwrap(),
            "not scheduled: 0/2 nodes are available"
        );
        let unready = json!({"status": {"containerStatuses": [
            {"name": "ztunnel", "ready": false, "state": {"running": {}}},
        ]}});
        assert_eq!(
            trouble(&unready).unwrap(),
            "container ztunnel runs and is not ready"
        );
    }
}
