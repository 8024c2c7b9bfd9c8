//! A node proxy's `/config_dump`, in the JSON shape upstream's tools read.
//! Unknown fields are ignored and missing ones empty, so dumps of both proxies can be read.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole dump.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigDump {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) services: Vec<Service>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) workload_state: BTreeMap<String, WorkloadState>,
    pub(crate) version: serde_json::Value,
    pub(crate) config: serde_json::Value,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Workload {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) workload_ips: Vec<String>,
    pub(crate) hostname: String,
    pub(crate) protocol: String,
    pub(crate) node: String,
    pub(crate) service_account: String,
    pub(crate) status: String,
    pub(crate) waypoint: Option<Gateway>,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Gateway {
    pub(crate) destination: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) hostname: String,
    pub(crate) vips: Vec<String>,
    pub(crate) ports: serde_json::Value,
    pub(crate) endpoints: BTreeMap<String, serde_json::Value>,
    pub(crate) waypoint: Option<Gateway>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) action: String,
    pub(crate) scope: String,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Certificate {
    pub(crate) identity: String,
    pub(crate) state: serde_json::Value,
    pub(crate) cert_chain: Vec<X509>,
    pub(crate) root_certs: Vec<X509>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct X509 {
    pub(crate) serial_number: String,
    pub(crate) valid_from: String,
    pub(crate) expiration_time: String,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadState {
    pub(crate) state: String,
    pub(crate) connections: Connections,
    pub(crate) info: PodFacts,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Connections {
    pub(crate) inbound: Vec<Connection>,
    pub(crate) outbound: Vec<Connection>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Connection {
    pub(crate) src: String,
    pub(crate) original_dst: String,
    pub(crate) actual_dst: String,
    pub(crate) protocol: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodFacts {
    pub(crate) name: String,
    pub(crate) namespace: String,
    #[serde(alias = "serviceAccount")]
    pub(crate) service_account: String,
}
