//! The made-up cluster: nodes without a kubelet, and pods on them that nobody runs. Pure.
//! Their Ready conditions are ours; nobody takes them away, since the nodes never said they were ready.

use ambit_api::labels;
use serde_json::{Value, json};

/// Namespaces whose traffic goes through a waypoint.
pub(crate) const WITH_WAYPOINT: usize = 5;
/// Name of these waypoints.
pub(crate) const WAYPOINT: &str = "waypoint";

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) namespaces: usize,
    pub(crate) services: usize,
    pub(crate) pods: usize,
    pub(crate) nodes: usize,
}

/// An object and the path of its collection.
pub(crate) struct Made {
    pub(crate) path: String,
    pub(crate) object: Value,
    /// A status that has to be patched in.
    pub(crate) status: Option<Value>,
}

impl Made {
    fn new(path: impl Into<String>, object: Value) -> Self {
        Self {
            path: path.into(),
            object,
            status: None,
        }
    }
}

impl Population {
    /// Pods of a service.
    pub(crate) fn pods_of_service(&self) -> usize {
        self.pods / self.services
    }

    /// Services of a namespace.
    pub(crate) fn services_of_namespace(&self) -> usize {
        self.services / self.namespaces
    }

    /// Nodes and namespaces, with what waypoints need.
    pub(crate) fn ground(&self) -> Vec<Made> {
        let nodes = (0..self.nodes).map(|n| {
            let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node(n), "labels": {
                labels::REGION: "r1", labels::ZONE: format!("z{}", n % 3)}}});
            Made::new("/api/v1/nodes", object)
        });
        let namespaces = (0..self.namespaces).map(|n| {
            let mut labels = json!({"istio.io/dataplane-mode": "ambient"});
            if n < WITH_WAYPOINT {
                labels[labels::USE_WAYPOINT] = WAYPOINT.into();
            }
            let metadata = json!({"name": namespace(n), "labels": labels});
            Made::new(
                "/api/v1/namespaces",
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
            )
        });
        nodes.chain(namespaces).collect()
    }

    /// Services, and the waypoints.
    pub(crate) fn services(&self) -> Vec<Made> {
        let mut made = Vec::new();
        for n in 0..self.namespaces {
            let namespace = namespace(n);
            for s in 0..self.services_of_namespace() {
                let name = service(s);
                made.push(Made::new(
                    format!("/api/v1/namespaces/{namespace}/services"),
                    json!({"apiVersion": "v1", "kind": "Service",
                        "metadata": {"name": name, "namespace": namespace},
                        "spec": {"selector": {"app": name}, "ports": [
                            {"name": "http", "port": 80, "targetPort": "http"}]}}),
                ));
            }
            if n < WITH_WAYPOINT {
                made.extend(waypoint(&namespace));
            }
        }
        made
    }

    /// Pods, with their statuses.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Made> {
        let waypoints = (0..WITH_WAYPOINT.min(self.namespaces)).map(|n| {
            let labels = json!({labels::GATEWAY_NAME: WAYPOINT});
            self.pod(
                self.pods + n,
                &namespace(n),
                ("waypoint-0", WAYPOINT),
                labels,
            )
        });
        let per_service = self.pods_of_service();
        let per_namespace = per_service * self.services_of_namespace();
        let workloads = (0..self.pods).map(move |n| {
            let service = service(n % per_namespace / per_service);
            let name = pod(n % per_namespace / per_service, n % per_service);
            let labels = json!({"app": service, "version": "v1", "pod-template-hash": "5d4f8c9b7"});
            self.pod(n, &namespace(n / per_namespace), (&name, "default"), labels)
        });
        waypoints.chain(workloads)
    }

    fn pod(&self, n: usize, namespace: &str, (name, account): (&str, &str), labels: Value) -> Made {
        let ip = format!("10.{}.{}.{}", 128 + n / 62_500, n / 250 % 250, n % 250 + 1);
        let variable = |name: &str| json!({"name": name, "value": "a value of usual length, as templates have them"});
        let variables = ["ONE", "TWO", "THREE", "FOUR"].map(variable);
        let met = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(met);
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": {
                labels::REDIRECTION: "enabled", "prometheus.io/scrape": "true", "prometheus.io/port": "9090"}},
            "spec": {"nodeName": node(n % self.nodes), "serviceAccountName": account,
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                // Nodes without a kubelet are tainted, and their pods would be evicted.
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "app", "image": "registry.example/app:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": variables,
                    "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}]}});
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "hostIP": "10.90.200.1", "startTime": "2026-01-01T00:00:00Z",
            "conditions": conditions}});
        Made {
            path: format!("/api/v1/namespaces/{namespace}/pods"),
            object,
            status: Some(status),
        }
    }
}

fn waypoint(namespace: &str) -> [Made; 3] {
    let metadata = json!({"name": WAYPOINT, "namespace": namespace});
    [
        Made::new(
            format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        ),
        Made::new(
            format!("/api/v1/namespaces/{namespace}/services"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "selector": {labels::GATEWAY_NAME: WAYPOINT},
                "ports": [{"name": "mesh", "port": 15008, "appProtocol": "hbone"}]}}),
        ),
        Made::new(
            format!("/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways"),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata,
                "spec": {"gatewayClassName": "istio-waypoint", "listeners": [
                    {"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}),
        ),
    ]
}

/// Name of a namespace.
pub(crate) fn namespace(n: usize) -> String {
    format!("scale-{n:02}")
}

/// Name of a node.
pub(crate) fn node(n: usize) -> String {
    format!("scale-node-{n:03}")
}

/// Name of a service of a namespace.
pub(crate) fn service(n: usize) -> String {
    format!("s-{n:02}")
}

/// Name of a pod of a service.
pub(crate) fn pod(service: usize, n: usize) -> String {
    format!("s-{service:02}-5d4f8c9b7-{n:03}")
}
