//! Overlays as users write them.

use super::{Overlaid, overlay};
use serde_json::{Value, json};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "w", "namespace": "n", "labels": {"gateway.istio.io/managed": "m"}},
        "spec": {
            "selector": {"matchLabels": {"g": "w"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"g": "w"}},
                "spec": {
                    "serviceAccountName": "w",
                    "volumes": [{"name": "token"}, {"name": "root"}],
                    "containers": [{
                        "name": "waypoint", "image": "i",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"containerPort": 15008, "name": "mesh"}],
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    }],
                },
            },
        },
    })
}

fn laid(text: &str) -> Result<Value, String> {
    overlay(Overlaid::Deployment, &deployment(), text).map_err(|error| error.to_string())
}

#[test]
fn an_overlay_changes_what_it_names_and_nothing_else() {
    let spec = "/spec/template/spec";
    let first = "/spec/template/spec/containers/0";
    let cases = [
        ("", "/spec/replicas".to_owned(), Value::Null),
        ("spec: {replicas: 3}", "/spec/replicas".into(), json!(3)),
        (
            "metadata: {labels: {team: a}}",
            "/metadata/labels".into(),
            json!({"gateway.istio.io/managed": "m", "team": "a"}),
        ),
        (
            "spec: {template: {spec: {containers: [{name: waypoint, env: [{name: B, value: '3'}, {name: C, value: '4'}]}]}}}",
            format!("{first}/env"),
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]),
        ),
        (
            "spec: {template: {spec: {containers: [{name: waypoint, env: [{name: A, $patch: delete}]}]}}}",
            format!("{first}/env"),
            json!([{"name": "B", "value": "2"}]),
        ),
        (
            "spec: {template: {spec: {containers: [{name: waypoint, env: [{$patch: replace}, {name: Z, value: z}]}]}}}",
            format!("{first}/env"),
            json!([{"name": "Z", "value": "z"}]),
        ),
        (
            "spec: {template: {spec: {containers: [{name: waypoint, resources: {requests: {cpu: 2, memory: null}}}]}}}",
            format!("{first}/resources"),
            json!({"requests": {"cpu": "2"}}),
        ),
        (
            "spec: {template: {spec: {containers: [{name: waypoint, ports: [{containerPort: 9, name: x}]}]}}}",
            format!("{first}/ports"),
            json!([{"containerPort": 15008, "name": "mesh"}, {"containerPort": 9, "name": "x"}]),
        ),
        (
            "spec: {template: {spec: {containers: [{name: extra, image: e}]}}}",
            format!("{spec}/containers/1"),
            json!({"name": "extra", "image": "e"}),
        ),
        (
            "spec: {template: {spec: {volumes: [{name: root, $patch: delete}]}}}",
            format!("{spec}/volumes"),
            json!([{"name": "token"}]),
        ),
        (
            "spec: {strategy: {$retainKeys: [type], type: Recreate}}",
            "/spec/strategy".into(),
            json!({"type": "Recreate"}),
        ),
        (
            "spec: {strategy: {$patch: replace, type: Recreate}}",
            "/spec/strategy".into(),
            json!({"type": "Recreate"}),
        ),
        (
            "spec: {strategy: null}",
            "/spec/strategy".into(),
            Value::Null,
        ),
        (
            "spec: {template: {spec: {tolerations: [{key: a}], nodeSelector: {a: b, c: null}}}}",
            format!("{spec}/nodeSelector"),
            json!({"a": "b"}),
        ),
    ];
    for (text, path, wanted) in cases {
        let merged = laid(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = merged.pointer(&path).cloned().unwrap_or_default();
        assert_eq!(found, wanted, "{text}");
        let mut restored = merged;
        for part in ["/spec/template/spec/serviceAccountName", "/metadata/name"] {
            assert!(restored.pointer_mut(part).is_some(), "{text}: {part}");
        }
    }
    assert_eq!(laid(" \n# nothing\n").unwrap(), deployment());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("spec: [", "not YAML"),
        ("- a", "must be a map"),
        ("7", "must be a map"),
        (
            "metadata: {name: other}",
            "metadata.name: cannot be changed",
        ),
        ("metadata: {namespace: other}", "metadata.namespace: cannot"),
        (
            "metadata: {ownerReferences: [{uid: x}]}",
            "metadata.ownerReferences: cannot",
        ),
        ("metadata: {finalizers: [x]}", "metadata.finalizers: cannot"),
        (
            "metadata: {labels: {gateway.istio.io/managed: x}}",
            "gateway.istio.io/managed: cannot",
        ),
        (
            "metadata: {labels: null}",
            "gateway.istio.io/managed: cannot",
        ),
        ("kind: DaemonSet", "kind: cannot"),
        (
            "spec: {selector: {matchLabels: {a: b}}}",
            "spec.selector: cannot",
        ),
        (
            "spec: {template: {spec: {serviceAccountName: root}}}",
            "serviceAccountName: cannot",
        ),
        (
            "spec: {template: {metadata: {labels: {istio.io/dataplane-mode: ambient}}}}",
            "dataplane-mode: cannot",
        ),
        ("spec: {replicaz: 3}", "spec.replicaz: unknown field"),
        ("spec: {replicas: three}", "spec.replicas: invalid type"),
        (
            "spec: {template: {spec: {containers: [{image: x}]}}}",
            "spec.template.spec.containers[0]: needs `name`",
        ),
        (
            "spec: {template: {spec: {containers: [x]}}}",
            "spec.template.spec.containers[0]: must be a map",
        ),
        (
            "spec: {strategy: {$patch: explode}}",
            "spec.strategy: $patch must be",
        ),
        ("spec: {strategy: {$retainKeys: 1}}", "$retainKeys must be"),
        ("spec: {$deleteFromPrimitiveList/x: [1]}", "not supported"),
        ("$patch: delete", "cannot be deleted"),
        ("spec: null", "spec.selector: cannot"),
        ("status: {replicas: 1}", "status: cannot"),
    ];
    for (text, wanted) in cases {
        let error = laid(text).expect_err(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let deep = format!("spec: {}{}", "[".repeat(500), "]".repeat(500));
    assert!(laid(&deep).is_err());
}

#[test]
fn lists_of_other_kinds_have_their_own_names() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "w"},
        "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "b"}]}});
    let text =
        "spec: {ports: [{port: 80, nodePort: 30080}], loadBalancerSourceRanges: [10.0.0.0/8]}";
    let merged = overlay(Overlaid::Service, &service, text).unwrap();
    assert_eq!(
        merged["spec"]["ports"],
        json!([{"port": 80, "name": "http", "nodePort": 30080}, {"port": 81, "name": "b"}])
    );
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"g": "w"}}}});
    let text = "spec: {minAvailable: 50%, selector: {matchLabels: {a: b}}}";
    let merged = overlay(Overlaid::PodDisruptionBudget, &budget, text).unwrap();
    assert_eq!(
        merged["spec"],
        json!({"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}})
    );
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "w"}, "spec": {"maxReplicas": 1,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}}});
    let text = "spec: {maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]}";
    let merged = overlay(Overlaid::HorizontalPodAutoscaler, &scaler, text).unwrap();
    assert_eq!(merged["spec"]["maxReplicas"], 5);
    let error = overlay(
        Overlaid::HorizontalPodAutoscaler,
        &scaler,
        "spec: {scaleTargetRef: {name: other}}",
    );
    assert!(error.is_err());
}
