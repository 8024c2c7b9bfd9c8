//! A directory source in memory: documents, the writes of the index merged back in.

use ambit_api::{route, security, type_urls, workload};
use ambit_crds::{Kind, Object, ObjectKey};
use ambit_index::{Audience, Change, Index, MeshConfig, Resource, Write};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Mesh {
    pub(crate) index: Index,
    documents: BTreeMap<ObjectKey, Value>,
    resources: BTreeMap<(String, String), Resource>,
    pub(crate) statuses: BTreeMap<ObjectKey, Value>,
    pub(crate) generated: BTreeMap<ObjectKey, Value>,
    /// Type and name of what the last step changed.
    pub(crate) changed: Vec<(&'static str, String)>,
}

impl Mesh {
    pub(crate) fn new(yaml: &str) -> Self {
        Self::with(MeshConfig::default(), yaml)
    }

    /// With other settings than the default ones.
    pub(crate) fn with(config: MeshConfig, yaml: &str) -> Self {
        let mut mesh = Self {
            index: Index::new(config),
            documents: BTreeMap::new(),
            resources: BTreeMap::new(),
            statuses: BTreeMap::new(),
            generated: BTreeMap::new(),
            changed: Vec::new(),
        };
        mesh.apply(yaml);
        mesh
    }

    /// Adds or replaces documents, then lets the writes come back until nothing changes.
    pub(crate) fn apply(&mut self, yaml: &str) {
        let values: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
        self.step(values.into_iter().map(|v| (key(&v), Some(v))).collect());
    }

    pub(crate) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.step(vec![(ObjectKey::new(kind, namespace, name), None)]);
    }

    /// Sets the status of a pod, as its node does.
    pub(crate) fn pod_runs(&mut self, name: &str, ip: &str) {
        let found = self
            .documents
            .iter()
            .find(|(k, _)| k.kind == Kind::Pod && &*k.name == name);
        let (key, document) = found.unwrap();
        let mut document = document.clone();
        document["status"] = json!({
            "phase": "Running", "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}]});
        let key = key.clone();
        self.step(vec![(key, Some(document))]);
    }

    fn step(&mut self, documents: Vec<(ObjectKey, Option<Value>)>) {
        self.changed.clear();
        let mut next = documents;
        for _ in 0..6 {
            next = self.once(next);
            if next.is_empty() {
                return;
            }
        }
        panic!("writes never settle: {next:#?}");
    }

    fn once(
        &mut self,
        documents: Vec<(ObjectKey, Option<Value>)>,
    ) -> Vec<(ObjectKey, Option<Value>)> {
        let mut changes = Vec::new();
        for (key, document) in documents {
            match document {
                Some(document) => {
                    let object = Object::parse(document.clone()).unwrap();
                    self.documents.insert(key, document);
                    changes.push(Change::Upsert(Arc::new(object)));
                }
                None => {
                    self.documents.remove(&key);
                    changes.push(Change::Delete(key));
                }
            }
        }
        let output = self.index.apply(changes);
        for change in output.resources {
            let name = change.name.to_string();
            self.changed.push((change.type_url, name.clone()));
            let key = (change.type_url.to_owned(), name);
            match change.resource {
                Some(resource) => drop(self.resources.insert(key, resource)),
                None => drop(self.resources.remove(&key)),
            }
        }
        output
            .plan
            .writes
            .into_iter()
            .filter_map(|w| self.written(w))
            .collect()
    }

    fn written(&mut self, write: Write) -> Option<(ObjectKey, Option<Value>)> {
        match write {
            Write::Status { key, status } => {
                self.statuses.insert(key.clone(), status.clone());
                let mut document = self.documents.get(&key)?.clone();
                let mut before = document["status"].take();
                if !before.is_object() {
                    before = json!({});
                }
                for (field, value) in status.as_object().unwrap() {
                    before[field] = with_times(value);
                }
                document["status"] = before;
                (self.documents[&key] != document).then_some((key, Some(document)))
            }
            Write::Object { key, value } => {
                self.generated.insert(key.clone(), value.clone());
                let mut document = value;
                let status = self.documents.get(&key).map(|d| d["status"].clone());
                if let Some(status @ Value::Object(_)) = status {
                    document["status"] = status;
                }
                let same = self.documents.get(&key) == Some(&document);
                (!same && document.get("spec").is_some()).then_some((key, Some(document)))
            }
            Write::Remove { key } => {
                self.statuses.remove(&key);
                let was_generated = self.generated.remove(&key).is_some();
                was_generated.then_some((key, None))
            }
        }
    }

    fn body(&self, type_url: &str, name: &str) -> Option<&Resource> {
        self.resources.get(&(type_url.to_owned(), name.to_owned()))
    }

    pub(crate) fn names(&self, type_url: &str) -> Vec<&str> {
        let of_type = self.resources.keys().filter(|(t, _)| t == type_url);
        of_type.map(|(_, name)| name.as_str()).collect()
    }

    pub(crate) fn audience(&self, type_url: &str, name: &str) -> Audience {
        self.body(type_url, name).unwrap().audience.clone()
    }

    pub(crate) fn aliases(&self, name: &str) -> &[String] {
        &self.body(type_urls::ADDRESS, name).unwrap().aliases
    }

    pub(crate) fn service(&self, name: &str) -> workload::Service {
        let body = self.body(type_urls::ADDRESS, name).unwrap().body.clone();
        match workload::Address::decode(body).unwrap().r#type {
            Some(workload::address::Type::Service(service)) => {
                // What we send must be what proxies accept.
                ambit_model::convert::service::from_proto(service.clone()).unwrap();
                service
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn workload(&self, uid: &str) -> workload::Workload {
        let body = self.body(type_urls::ADDRESS, uid).unwrap().body.clone();
        match workload::Address::decode(body).unwrap().r#type {
            Some(workload::address::Type::Workload(workload)) => {
                ambit_model::convert::workload::from_proto(workload.clone()).unwrap();
                workload
            }
            other => panic!("{other:?}"),
        }
    }

    /// The workload of a pod, by its name.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> workload::Workload {
        self.workload(&format!("Kubernetes//Pod/{namespace}/{name}"))
    }

    pub(crate) fn has(&self, type_url: &str, name: &str) -> bool {
        self.body(type_url, name).is_some()
    }

    pub(crate) fn policy(&self, name: &str) -> security::Authorization {
        let body = self
            .body(type_urls::AUTHORIZATION, name)
            .unwrap()
            .body
            .clone();
        let policy = security::Authorization::decode(body).unwrap();
        ambit_model::convert::authorization::from_proto(policy.clone()).unwrap();
        policy
    }

    pub(crate) fn router(&self, name: &str) -> route::Router {
        let body = self.body(type_urls::ROUTER, name).unwrap().body.clone();
        let router = route::Router::decode(body).unwrap();
        ambit_model::convert::route::router(router.clone()).unwrap();
        router
    }

    pub(crate) fn gateway(&self, name: &str) -> route::Gateway {
        let body = self.body(type_urls::GATEWAY, name).unwrap().body.clone();
        let gateway = route::Gateway::decode(body).unwrap();
        ambit_model::convert::route::gateway(gateway.clone()).unwrap();
        gateway
    }

    pub(crate) fn cluster(&self, name: &str) -> route::Cluster {
        let body = self.body(type_urls::CLUSTER, name).unwrap().body.clone();
        let cluster = route::Cluster::decode(body).unwrap();
        ambit_model::convert::route::cluster(cluster.clone()).unwrap();
        cluster
    }

    /// (pod, target port) of a cluster.
    pub(crate) fn endpoints(&self, name: &str) -> Vec<(String, u32)> {
        let body = self.body(type_urls::ENDPOINTS, name).unwrap().body.clone();
        let endpoints = route::Endpoints::decode(body).unwrap();
        ambit_model::convert::route::endpoints(endpoints.clone()).unwrap();
        let endpoints = endpoints.endpoints;
        let pod = |uid: String| uid.rsplit('/').next().unwrap().to_owned();
        endpoints
            .into_iter()
            .map(|e| (pod(e.workload_uid), e.target_port))
            .collect()
    }

    /// (pod, target port, weight) of a cluster.
    pub(crate) fn weights(&self, name: &str) -> Vec<(String, u32, u32)> {
        let body = self.body(type_urls::ENDPOINTS, name).unwrap().body.clone();
        let endpoints = route::Endpoints::decode(body).unwrap().endpoints;
        let pod = |uid: String| uid.rsplit('/').next().unwrap().to_owned();
        endpoints
            .into_iter()
            .map(|e| (pod(e.workload_uid), e.target_port, e.weight))
            .collect()
    }

    /// (status, reason, message) of a condition.
    pub(crate) fn condition(
        &self,
        kind: Kind,
        (namespace, name): (&str, &str),
        condition: &str,
    ) -> Option<(String, String, String)> {
        let status = self.statuses.get(&ObjectKey::new(kind, namespace, name))?;
        let list = status["conditions"].as_array()?;
        let found = list.iter().find(|c| c["type"] == condition)?;
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }
}

fn key(value: &Value) -> ObjectKey {
    let version = value["apiVersion"].as_str().unwrap();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = Kind::of(group, value["kind"].as_str().unwrap());
    let meta = &value["metadata"];
    ObjectKey::new(
        kind,
        meta["namespace"].as_str().unwrap_or("default"),
        meta["name"].as_str().unwrap(),
    )
}

/// Adds what the writer adds.
fn with_times(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(with_times).collect(),
        Value::Object(map) => {
            let mut map: serde_json::Map<_, _> = map
                .iter()
                .map(|(k, v)| (k.clone(), with_times(v)))
                .collect();
            if map.contains_key("reason") {
                map.insert("lastTransitionTime".into(), "2026-01-01T00:00:00Z".into());
            }
            Value::Object(map)
        }
        plain => plain.clone(),
    }
}
