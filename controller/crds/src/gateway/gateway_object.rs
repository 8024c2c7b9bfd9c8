//! `Gateway`: a waypoint when its class is one, else only an address others may point at.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const GATEWAY_UNSUPPORTED: &[&str] = &["spec.allowedListeners", "spec.defaultScope"];

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// `istio-waypoint` and others.
    pub gateway_class_name: String,
    /// Ports.
    pub listeners: Vec<Listener>,
    /// Requested addresses.
    pub addresses: Vec<GatewayAddress>,
    /// Metadata of generated objects.
    pub infrastructure: Option<Infrastructure>,
    /// Gateway-wide TLS; not read for waypoints.
    pub tls: Option<Value>,
    /// Backend TLS of older versions; not read for waypoints.
    #[serde(rename = "backendTLS")]
    pub backend_tls: Option<Value>,
}

/// `listeners[]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listener {
    /// Unique in the Gateway.
    pub name: String,
    /// Of HTTP and TLS listeners.
    pub hostname: Option<String>,
    /// Port.
    pub port: u16,
    /// `HBONE` for a waypoint.
    pub protocol: String,
    /// TLS; not read for waypoints.
    pub tls: Option<Value>,
    /// Whose routes and bindings are accepted; unset means the Gateway's own namespace.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// `allowedRoutes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// Which namespaces.
    pub namespaces: Option<RouteNamespaces>,
    /// Which kinds; empty means all.
    pub kinds: Vec<RouteGroupKind>,
}

/// `allowedRoutes.namespaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteNamespaces {
    /// Default `Same`.
    pub from: FromNamespaces,
    /// With `Selector`.
    pub selector: Option<LabelSelector>,
}

/// `allowedRoutes.namespaces.from`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum FromNamespaces {
    /// The Gateway's.
    #[default]
    Same,
    /// Every.
    All,
    /// By labels.
    Selector,
    /// None.
    None,
}

/// `LabelSelector` of meta/v1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// All must be equal.
    pub match_labels: BTreeMap<String, String>,
    /// All must hold.
    pub match_expressions: Vec<SelectorRequirement>,
}

/// `matchExpressions[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectorRequirement {
    /// Label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values of `In` and `NotIn`.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether these labels satisfy it. An operator nobody knows matches nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self
            .match_labels
            .iter()
            .all(|(k, v)| labels.get(k) == Some(v));
        equal
            && self.match_expressions.iter().all(|e| {
                let value = labels.get(&e.key);
                match e.operator.as_str() {
                    "In" => value.is_some_and(|v| e.values.contains(v)),
                    "NotIn" => value.is_none_or(|v| !e.values.contains(v)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// `allowedRoutes.kinds[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteGroupKind {
    /// Group; unset means Gateway API's.
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

/// `addresses[]` of spec and status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayAddress {
    /// `IPAddress` (default) or `Hostname`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Address.
    pub value: String,
}

/// `infrastructure`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// Added to generated objects.
    pub labels: BTreeMap<String, String>,
    /// Added to generated objects.
    pub annotations: BTreeMap<String, String>,
    /// Overlay of generated objects.
    pub parameters_ref: Option<ParametersRef>,
}

/// `infrastructure.parametersRef`: an object of the Gateway's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParametersRef {
    /// Group; empty for the core group.
    pub group: String,
    /// Kind; `ConfigMap` is read.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl ParametersRef {
    /// Whether it names a ConfigMap.
    pub fn is_config_map(&self) -> bool {
        self.group.is_empty() && self.kind == "ConfigMap"
    }
}

/// `status`, the part that is read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// Where it can be reached.
    pub addresses: Vec<GatewayAddress>,
    /// Conditions, as written.
    pub conditions: Vec<Value>,
}
