//! The network configuration on stdin.
//! Spec: CNI SPEC.md, "Plugin configuration objects"; result formats 0.3.1 to 1.1.0.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{CniError, Code};
use crate::known::PodPattern;

/// Versions this plugin speaks, oldest first.
pub(crate) const SUPPORTED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", NEWEST];
/// The newest of them.
pub(crate) const NEWEST: &str = "1.1.0";

/// Our part of the configuration, and the result of the plugins before us.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetConf {
    #[serde(default = "oldest")]
    pub(crate) cni_version: String,
    #[serde(default)]
    pub(crate) prev_result: Option<Value>,
    /// Unix socket of the agent.
    #[serde(default = "default_socket")]
    pub(crate) agent_socket: PathBuf,
    /// What the agent knew when it last ran.
    #[serde(default = "default_state_file")]
    pub(crate) state_file: PathBuf,
    /// Namespaces that are never in the mesh.
    #[serde(default = "default_excluded")]
    pub(crate) exclude_namespaces: Vec<String>,
    /// Pods of the mesh itself, which must start before the agent can answer.
    #[serde(default = "default_own")]
    pub(crate) own_pods: Vec<PodPattern>,
    /// One line per command is appended here.
    #[serde(default)]
    pub(crate) log_file: Option<PathBuf>,
}

impl NetConf {
    pub(crate) fn parse(stdin: &[u8]) -> Result<Self, CniError> {
        let conf: Self = serde_json::from_slice(stdin).map_err(|error| {
            CniError::new(Code::Decode, "cannot read the network configuration", error)
        })?;
        if SUPPORTED.contains(&conf.cni_version.as_str()) {
            Ok(conf)
        } else {
            Err(CniError::new(
                Code::Version,
                format!("cniVersion {} is not supported", conf.cni_version),
                format!("supported: {}", SUPPORTED.join(", ")),
            ))
        }
    }

    /// The result of the plugin before us, which a chained plugin cannot do without.
    pub(crate) fn previous(&self) -> Result<&Value, CniError> {
        self.prev_result.as_ref().ok_or_else(|| {
            CniError::new(
                Code::Config,
                "no prevResult",
                "ambit-cni must stand after another plugin in the chain",
            )
        })
    }
}

/// The pod's addresses in a result: those without an interface or on an interface inside the sandbox.
pub(crate) fn pod_ips(result: &Value) -> Result<Vec<IpAddr>, CniError> {
    let malformed = |what: &str| CniError::new(Code::Decode, "cannot read prevResult", what);
    let Some(ips) = result.get("ips") else {
        return Ok(Vec::new());
    };
    let ips = ips
        .as_array()
        .ok_or_else(|| malformed("ips is not a list"))?;
    let mut found = Vec::with_capacity(ips.len());
    for entry in ips {
        if on_host(result, entry) {
            continue;
        }
        let address = entry
            .get("address")
            .and_then(Value::as_str)
            .ok_or_else(|| malformed("an entry of ips has no address"))?;
        let bare = address.split('/').next().unwrap_or(address);
        let ip = bare
            .parse()
            .map_err(|_| malformed(&format!("{address} is not an address")))?;
        found.push(ip);
    }
    Ok(found)
}

fn on_host(result: &Value, entry: &Value) -> bool {
    let interface = entry
        .get("interface")
        .and_then(Value::as_u64)
        .and_then(|index| usize::try_from(index).ok())
        .and_then(|index| result.get("interfaces")?.get(index));
    interface.is_some_and(|interface| {
        interface
            .get("sandbox")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
    })
}

fn oldest() -> String {
    // The specification's default, 0.1.0, is one nobody chains with; such a configuration is refused.
    "0.1.0".into()
}

fn default_socket() -> PathBuf {
    "/var/run/ambit/cni.sock".into()
}

fn default_state_file() -> PathBuf {
    "/var/run/ambit/state.json".into()
}

fn default_excluded() -> Vec<String> {
    vec!["kube-system".into()]
}

fn default_own() -> Vec<PodPattern> {
    [
        "ambit-cni-node-*",
        "istio-cni-node-*",
        "ztunnel-*",
        "ambit-controller-*",
        "istiod-*",
    ]
    .map(|name| PodPattern::new("istio-system", name))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_outside_the_range_are_refused() {
        for (version, accepted) in [
            ("0.1.0", false),
            ("0.3.0", false),
            ("0.3.1", true),
            ("0.4.0", true),
            ("1.0.0", true),
            ("1.1.0", true),
            ("2.0.0", false),
            ("", false),
        ] {
            let parsed = NetConf::parse(json!({"cniVersion": version}).to_string().as_bytes());
            assert_eq!(parsed.is_ok(), accepted, "{version}");
        }
    }

    #[test]
    fn addresses_of_the_sandbox_only() {
        let result = json!({
            "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
            "ips": [
                {"version": "4", "address": "10.0.0.1/24", "interface": 0},
                {"version": "4", "address": "10.0.0.7/24", "interface": 1, "gateway": "10.0.0.1"},
                {"address": "fd00::7/64"},
                {"address": "10.0.0.9"},
            ],
        });
        let ips: Vec<String> = pod_ips(&result)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ips, ["10.0.0.7", "fd00::7", "10.0.0.9"]);
        assert_eq!(pod_ips(&json!({})).unwrap(), Vec::<IpAddr>::new());
    }

    #[test]
    fn malformed_results_are_errors() {
        for result in [
            json!({"ips": 7}),
            json!({"ips": [{}]}),
            json!({"ips": [{"address": "pod"}]}),
            json!({"ips": [{"address": 5}]}),
        ] {
            assert_eq!(
                pod_ips(&result).unwrap_err().code,
                Code::Decode as u32,
                "{result}"
            );
        }
    }
}
