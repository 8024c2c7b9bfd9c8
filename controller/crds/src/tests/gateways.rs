//! What is said of annotations of Gateways and GatewayClasses.

use super::findings;

fn gateway(class: &str, annotation: &str) -> Vec<String> {
    let text = format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: a, annotations: {{{annotation}}}}}, \
         spec: {{gatewayClassName: {class}, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}}}"
    );
    findings(&text)
}

#[test]
fn names_of_gateways_that_cannot_be_are_told() {
    assert_eq!(
        gateway("istio", "gateway.istio.io/name-override: A"),
        [
            "~metadata.annotations.gateway.istio.io/name-override: `A` must be lower-case letters, digits and `-`, \
             begin with a letter, at most 63 [IST0106]"
        ]
    );
    assert_eq!(
        gateway("istio", "gateway.istio.io/service-account: a/b"),
        [
            "~metadata.annotations.gateway.istio.io/service-account: `a/b` must be lower-case letters, digits, `-` and \
             `.`, at most 253 [IST0106]"
        ]
    );
    let fine = "gateway.istio.io/name-override: front, gateway.istio.io/service-account: edge";
    assert_eq!(gateway("istio", fine), Vec::<String>::new());
}

#[test]
fn bindings_that_have_no_effect_are_told_also_of_a_class() {
    let binding = "ambient.istio.io/waypoint-inbound-binding";
    assert_eq!(
        gateway("theirs", &format!("{binding}: PROXY/15088")),
        Vec::<String>::new()
    );
    assert_eq!(
        gateway("theirs", &format!("{binding}: TLS")),
        [format!(
            "~metadata.annotations.{binding}: `TLS` is none of NONE, PROXY, PROXY/<port>, and has no effect [IST0106]"
        )]
    );
    assert_eq!(
        gateway("istio-waypoint", &format!("{binding}: PROXY")),
        [format!(
            "~metadata.annotations.{binding}: has no effect: pods of class istio-waypoint need no other proxy [IST0106]"
        )]
    );
    let class = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: theirs, annotations: \
         {ambient.istio.io/xfcc-include-client-identity: maybe}}, spec: {controllerName: example.com/gateways}}";
    assert_eq!(
        findings(class),
        [
            "~metadata.annotations.ambient.istio.io/xfcc-include-client-identity: `maybe` is neither true nor false, and \
             has no effect [IST0106]"
        ]
    );
}
