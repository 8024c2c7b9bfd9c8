//! What is changed, and what the change looks like when it arrives. Pure.

use super::fleet::{By, Sought};
use super::population::{Made, namespace, pod, service};
use ambit_api::type_urls;
use serde_json::{Value, json};

/// Namespace whose objects are changed one by one; its traffic needs no waypoint.
const QUIET: usize = 10;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Policy,
    Pod,
    Service,
    Route,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Policy, Self::Pod, Self::Service, Self::Route];

    /// What the table calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Policy => "AuthorizationPolicy → 100 nodes",
            Self::Pod => "pod label → 100 nodes",
            Self::Service => "Service port → 100 nodes",
            Self::Route => "VirtualService → its waypoint",
        }
    }

    /// Objects that must be there before.
    pub(crate) fn made() -> [Made; 2] {
        let (quiet, bound) = (namespace(QUIET), namespace(0));
        [
            Made {
                path: format!(
                    "/apis/security.istio.io/v1/namespaces/{quiet}/authorizationpolicies"
                ),
                object: json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                    "metadata": {"name": "bench", "namespace": quiet}, "spec": {"action": "DENY",
                        "selector": {"matchLabels": {"app": service(0)}}, "rules": rules(0)}}),
                status: None,
            },
            Made {
                path: format!("/apis/networking.istio.io/v1/namespaces/{bound}/virtualservices"),
                object: json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                    "metadata": {"name": "bench", "namespace": bound},
                    "spec": {"hosts": [service(0)], "http": http(0)}}),
                status: None,
            },
        ]
    }

    /// The patch with this number: path and body. No number gives what another gave.
    pub(crate) fn patch(self, number: usize) -> (String, Value) {
        let (quiet, bound) = (namespace(QUIET), namespace(0));
        match self {
            Self::Policy => (
                format!(
                    "/apis/security.istio.io/v1/namespaces/{quiet}/authorizationpolicies/bench"
                ),
                json!({"spec": {"rules": rules(number)}}),
            ),
            Self::Pod => (
                format!("/api/v1/namespaces/{quiet}/pods/{}", pod(1, 0)),
                json!({"metadata": {"labels": {"version": format!("b{number}")}}}),
            ),
            Self::Service => (
                format!("/api/v1/namespaces/{quiet}/services/{}", service(2)),
                json!({"spec": {"ports": [{"name": "http", "port": 1000 + number, "targetPort": "http"}]}}),
            ),
            Self::Route => (
                format!("/apis/networking.istio.io/v1/namespaces/{bound}/virtualservices/bench"),
                json!({"spec": {"http": http(number)}}),
            ),
        }
    }

    /// What reaches clients then.
    pub(crate) fn sought(self) -> Sought {
        let host = |n, namespace: &str| {
            let service = service(n);
            format!("{namespace}/{service}.{namespace}.svc.cluster.local")
        };
        let (quiet, bound) = (namespace(QUIET), namespace(0));
        let (type_url, name, by) = match self {
            Self::Policy => (
                type_urls::AUTHORIZATION,
                format!("{quiet}/bench"),
                By::Nodes,
            ),
            Self::Pod => {
                let uid = format!("Kubernetes//Pod/{quiet}/{}", pod(1, 0));
                (type_urls::ADDRESS, uid, By::Nodes)
            }
            Self::Service => (type_urls::ADDRESS, host(2, &quiet), By::Nodes),
            Self::Route => {
                let router = format!("{bound}/waypoint/{}/80", host(0, &bound));
                (type_urls::ROUTER, router, By::Waypoint(0))
            }
        };
        Sought { type_url, name, by }
    }
}

fn rules(number: usize) -> Value {
    json!([{"from": [{"source": {"principals": [format!("cluster.local/ns/x/sa/n{number}")]}}]}])
}

fn http(number: usize) -> Value {
    json!([{"route": [{"destination": {"host": service(0)}}], "timeout": format!("{}s", number + 1)}])
}
