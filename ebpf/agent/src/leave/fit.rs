//! Whether a DaemonSet wants a pod on a node, as its controller decides it.
//! In: the two objects. Out: yes or no; yes where this code does not understand them, because no takes the mesh
//! off the node. Pure.
//! Spec: Kubernetes DaemonSet, node affinity, taints and tolerations.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration,
};

/// Taints that the controller lets all its pods tolerate: the node has troubles, it is not to be left.
const TROUBLES: &str = "node.kubernetes.io/";

/// See the module.
pub(super) fn wants(set: &DaemonSet, node: &Node) -> bool {
    let spec = set.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    let Some(spec) = spec else { return true };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let bound = spec.node_name.as_deref().is_none_or(|bound| bound == name);
    let mut selectors = spec.node_selector.iter().flatten();
    let selected = selectors.all(|(k, v)| label(node, k) == Some(v));
    let affinity = spec.affinity.as_ref();
    let affinity = affinity.and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let mut taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    bound
        && selected
        && required.is_none_or(|required| selects(required, node))
        && taints.all(|taint| {
            taint.effect == "PreferNoSchedule"
                || taint.key.starts_with(TROUBLES)
                || tolerations.iter().any(|t| tolerates(t, taint))
        })
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a String> {
    node.metadata.labels.as_ref()?.get(key)
}

/// Any of its terms.
fn selects(selector: &NodeSelector, node: &Node) -> bool {
    let mut terms = selector.node_selector_terms.iter();
    terms.any(|term| holds(term, node))
}

/// Everything in a term; an empty one is nobody's.
fn holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = node.metadata.name.as_ref();
    let mut by_label = term.match_expressions.iter().flatten().peekable();
    let mut by_field = term.match_fields.iter().flatten().peekable();
    let is_empty = by_label.peek().is_none() && by_field.peek().is_none();
    !is_empty
        && by_label.all(|r| is_met(r, label(node, &r.key)))
        // `metadata.name` is the only field there is.
        && by_field.all(|r| is_met(r, name))
}

fn is_met(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let bound = values.first().and_then(number);
    let compared = value.and_then(number).zip(bound);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(value, bound)| value > bound),
        "Lt" => compared.is_some_and(|(value, bound)| value < bound),
        _ => true,
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = given(&toleration.key).is_none_or(|key| key == taint.key);
    let value = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => {
            toleration.value.clone().unwrap_or_default() == taint.value.clone().unwrap_or_default()
        }
        _ => true,
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(spec: Value) -> DaemonSet {
        let set = json!({"metadata": {"name": "d"}, "spec": {
            "selector": {}, "template": {"spec": spec}}});
        serde_json::from_value(set).unwrap()
    }

    fn node(labels: Value, taints: Value) -> Node {
        let node =
            json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn labels_decide() {
        let required = |expression: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
        };
        let by = |operator: &str, values: Value| {
            required(json!({"key": "a", "operator": operator, "values": values}))
        };
        for (spec, labels, wanted) in [
            (json!({"containers": []}), json!({}), true),
            (
                json!({"containers": [], "nodeSelector": {"a": "1"}}),
                json!({"a": "1"}),
                true,
            ),
            (
                json!({"containers": [], "nodeSelector": {"a": "1"}}),
                json!({"a": "2"}),
                false,
            ),
            (
                json!({"containers": [], "nodeSelector": {"a": "1"}}),
                json!({}),
                false,
            ),
            (json!({"containers": [], "nodeName": "n1"}), json!({}), true),
            (
                json!({"containers": [], "nodeName": "n2"}),
                json!({}),
                false,
            ),
            (by("In", json!(["1", "2"])), json!({"a": "2"}), true),
            (by("In", json!(["1"])), json!({}), false),
            (by("NotIn", json!(["1"])), json!({"a": "1"}), false),
            (by("NotIn", json!(["1"])), json!({}), true),
            (by("Exists", json!([])), json!({"a": ""}), true),
            (by("DoesNotExist", json!([])), json!({"a": ""}), false),
            (by("Gt", json!(["4"])), json!({"a": "5"}), true),
            (by("Lt", json!(["4"])), json!({"a": "5"}), false),
            (by("Lt", json!(["4"])), json!({"a": "x"}), false),
            (by("Unheard", json!(["4"])), json!({}), true),
        ] {
            let found = wants(&set(spec.clone()), &node(labels.clone(), json!([])));
            assert_eq!(found, wanted, "{spec} {labels}");
        }
        let fields = |name: &str| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}}}})
        };
        assert!(wants(&set(fields("n1")), &node(json!({}), json!([]))));
        assert!(!wants(&set(fields("n2")), &node(json!({}), json!([]))));
        assert!(wants(&DaemonSet::default(), &Node::default()));
    }

    #[test]
    fn taints_that_nobody_tolerates_decide_but_troubles_do_not() {
        let tolerating = |tolerations: Value| json!({"containers": [], "tolerations": tolerations});
        let taint = |key: &str, effect: &str| json!([{"key": key, "value": "v", "effect": effect}]);
        for (tolerations, taints, wanted) in [
            (json!([]), taint("k", "NoSchedule"), false),
            (json!([]), taint("k", "NoExecute"), false),
            (json!([]), taint("k", "PreferNoSchedule"), true),
            (
                json!([]),
                taint("node.kubernetes.io/unreachable", "NoExecute"),
                true,
            ),
            (
                json!([]),
                taint("node.kubernetes.io/unschedulable", "NoSchedule"),
                true,
            ),
            (
                json!([{"operator": "Exists"}]),
                taint("k", "NoExecute"),
                true,
            ),
            (
                json!([{"operator": "Exists", "effect": "NoSchedule"}]),
                taint("k", "NoExecute"),
                false,
            ),
            (
                json!([{"key": "k", "operator": "Exists"}]),
                taint("k", "NoExecute"),
                true,
            ),
            (
                json!([{"key": "other", "operator": "Exists"}]),
                taint("k", "NoExecute"),
                false,
            ),
            (
                json!([{"key": "k", "value": "v"}]),
                taint("k", "NoSchedule"),
                true,
            ),
            (
                json!([{"key": "k", "value": "w"}]),
                taint("k", "NoSchedule"),
                false,
            ),
        ] {
            let set = set(tolerating(tolerations.clone()));
            let found = wants(&set, &node(json!({}), taints.clone()));
            assert_eq!(found, wanted, "{tolerations} {taints}");
        }
    }
}
