//! The Deployment of a waypoint in a cluster.
//! Source: Istio's `waypoint.yaml` template; settings of `ambit-waypoint`.

use super::objects::{Names, STATUS_PORT};
use crate::gateways::GatewayFact;
use crate::world::World;
use ambit_api::ports;
use ambit_crds::Kind;
use serde_json::{Value, json};

/// Directory of the mesh's root certificate, out of the ConfigMap that every namespace has.
const ROOTS: &str = "/var/run/secrets/istio";
/// Directory of the lists of revoked certificates, where there are any.
const REVOKED: &str = "/var/run/secrets/istio-crl";
/// Directory of the token.
const TOKENS: &str = "/var/run/secrets/tokens";
/// Name of the proxy's container.
const CONTAINER: &str = "waypoint";
/// User and group of proxies.
const PROXY: u32 = 1337;
/// Seconds a proxy has to let go of its clients, unless the user says otherwise.
const GRACE_SECONDS: u64 = 30;
/// Setting of the proxy: the same number.
const GRACE: &str = "TERMINATION_GRACE_PERIOD_SECONDS";

/// Kind of [`document`].
pub(super) fn kind() -> Kind {
    Kind::of("apps", "Deployment")
}

/// The document. The number of replicas is left to the user and to autoscalers.
pub(super) fn document(world: &World<'_>, gateway: &GatewayFact<'_>, control_plane: &str) -> Value {
    let names = Names::of(gateway).owned(gateway);
    let port =
        |name: &str, number: u16| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    let container = json!({
        "name": CONTAINER,
        "image": world.config.waypoint_image,
        "imagePullPolicy": "IfNotPresent",
        "env": environment(world, gateway, control_plane),
        "ports": [
            port("mesh", ports::HBONE),
            port("metrics", ports::METRICS),
            port(STATUS_PORT, ports::READINESS),
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "readinessProbe": {
            "httpGet": {"path": "/healthz/ready", "port": ports::READINESS, "scheme": "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 1,
            "failureThreshold": 4,
            "successThreshold": 1,
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": PROXY,
            "runAsNonRoot": true,
            "runAsUser": PROXY,
        },
        "volumeMounts": [
            {"name": "istiod-ca-cert", "mountPath": ROOTS, "readOnly": true},
            {"name": "istio-ca-crl", "mountPath": REVOKED, "readOnly": true},
            {"name": "istio-token", "mountPath": TOKENS, "readOnly": true},
        ],
    });
    let mut pod = json!({
        "serviceAccountName": names.account(),
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [{
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector()},
            // The pods of a rollout are spread by themselves.
            "matchLabelKeys": ["pod-template-hash"],
        }],
        "containers": [container],
        "volumes": volumes(),
    });
    if gateway.is_ingress() {
        // Listeners below 1024 without a capability.
        let sysctl = json!({"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"});
        pod["securityContext"]["sysctls"] = json!([sysctl]);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.name()),
        "spec": {
            "selector": {"matchLabels": names.selector()},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": names.pod_metadata(),
                "spec": pod,
            },
        },
    })
}

/// Tells the proxy how long its pod may take to end, which an overlay may have changed.
pub(super) fn settle(document: &mut Value) {
    let pod = &mut document["spec"]["template"]["spec"];
    let seconds = &pod["terminationGracePeriodSeconds"];
    let seconds = seconds.as_u64().unwrap_or(GRACE_SECONDS).to_string();
    let containers = pod["containers"].as_array_mut().into_iter().flatten();
    for container in containers.filter(|container| container["name"] == CONTAINER) {
        if let Some(listed) = container["env"].as_array_mut()
            && listed.iter().all(|variable| variable["name"] != GRACE)
        {
            listed.push(json!({"name": GRACE, "value": seconds}));
        }
    }
}

/// Leaves the number of pods to an autoscaler.
pub(super) fn leave_replicas(document: &mut Value) {
    if let Some(spec) = document["spec"].as_object_mut() {
        spec.remove("replicas");
    }
}

fn environment(world: &World<'_>, gateway: &GatewayFact<'_>, control_plane: &str) -> Value {
    let config = world.config;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let mut listed = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("NODE_NAME", "spec.nodeName"),
        field("INSTANCE_IP", "status.podIP"),
    ];
    let (roots, revoked, token) = (
        format!("{ROOTS}/root-cert.pem"),
        format!("{REVOKED}/ca-crl.pem"),
        format!("{TOKENS}/istio-token"),
    );
    for (name, value) in [
        ("GATEWAY", gateway.key.as_str()),
        ("XDS_ADDRESS", control_plane),
        ("CA_ADDRESS", control_plane),
        ("XDS_ROOT_CA", &roots),
        ("CA_ROOT_CA", &roots),
        ("CRL_PATH", &revoked),
        ("AUTH_TOKEN", &token),
        ("ISTIO_META_CLUSTER_ID", &config.cluster_id),
        ("TRUST_DOMAIN", &config.trust_domain),
        ("CLUSTER_DOMAIN", &config.cluster_domain),
    ] {
        listed.push(json!({"name": name, "value": value}));
    }
    for (name, value) in [
        ("NETWORK", world.network),
        ("COMPLIANCE_POLICY", config.compliance_policy),
    ] {
        if !value.is_empty() {
            listed.push(json!({"name": name, "value": value}));
        }
    }
    Value::Array(listed)
}

fn volumes() -> Value {
    json!([
        {
            "name": "istiod-ca-cert",
            "configMap": {"name": "istio-ca-root-cert", "defaultMode": 420},
        },
        {
            "name": "istio-ca-crl",
            "configMap": {"name": "istio-ca-crl", "defaultMode": 420, "optional": true},
        },
        {
            "name": "istio-token",
            "projected": {
                "defaultMode": 420,
                "sources": [{
                    "serviceAccountToken": {
                        "audience": "istio-ca",
                        "expirationSeconds": 43200,
                        "path": "istio-token",
                    },
                }],
            },
        },
    ])
}
