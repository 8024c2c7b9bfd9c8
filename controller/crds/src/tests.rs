//! Tables of good and bad documents with the exact paths reported.

mod entries;
mod gateways;

use crate::{Code, DISABLED, FieldError, Kind, Object, Severity, validate};
use serde_json::Value;
use std::time::Duration;

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// All findings of a document as `path: reason [code]`, warnings with a leading `~`.
fn findings(text: &str) -> Vec<String> {
    let found = match Object::parse(yaml(text)) {
        Ok(object) => validate(&object),
        Err(errors) => errors,
    };
    found.iter().map(shown).collect()
}

fn shown(e: &FieldError) -> String {
    let mark = if e.severity == Severity::Warning {
        "~"
    } else {
        ""
    };
    format!("{mark}{}: {} [{}]", e.path, e.reason, e.code)
}

fn virtual_service(http: &str) -> String {
    let http = http.replace('\n', "\n    ");
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews, namespace: default}}\nspec:\n  hosts: [reviews]\n  http:\n  - {http}\n"
    )
}

#[test]
fn a_whole_virtual_service_is_read() {
    let text = virtual_service(
        "name: jason
match:
- {name: m, uri: {prefix: /api}, method: {exact: GET}, headers: {end-user: {exact: jason}, x: {}}, withoutHeaders: {y: {regex: '*'}}, queryParams: {q: {regex: 'a+'}}, port: 9080, ignoreUriCase: true, gateways: [mesh]}
route:
- {destination: {host: reviews, subset: v2, port: {number: 9080}}, weight: 90, headers: {request: {set: {a: b}, remove: [c]}}}
- {destination: {host: reviews, subset: v1}, weight: 10}
timeout: 1.5s
retries: {attempts: 3, perTryTimeout: 100ms, retryOn: 'connect-failure,503', backoff: 25ms}
fault: {delay: {fixedDelay: 7s, percentage: {value: 0.1}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}
mirrors: [{destination: {host: reviews, subset: v3}, percentage: {value: 5}}]
rewrite: {uriRegexRewrite: {match: '^/a/(.*)', rewrite: '/\\1'}, authority: other}",
    );
    assert_eq!(findings(&text), Vec::<String>::new());
    let Object::VirtualService(vs) = Object::parse(yaml(&text)).unwrap() else {
        panic!("not a VirtualService");
    };
    let route = &vs.spec.http[0];
    assert_eq!(route.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(route.route[0].weight, 90);
    assert_eq!(
        route
            .fault
            .as_ref()
            .unwrap()
            .delay
            .as_ref()
            .unwrap()
            .percentage
            .unwrap()
            .ppm(),
        1000
    );
}

#[test]
fn virtual_service_mistakes_have_exact_paths() {
    let table: &[(&str, &[&str])] = &[
        (
            "corsPolicy: {}\nroute: [{destination: {host: a}}]\ntypo: 1",
            &[
                "spec.http[0].corsPolicy: not supported yet [AMB0001]",
                "spec.http[0].typo: unknown field [IST0106]",
            ],
        ),
        (
            "match: [{sourceLabels: {a: b}, urii: {exact: /}}]\nroute: [{destination: {host: a}}]",
            &[
                "spec.http[0].match[0].sourceLabels: not supported yet [AMB0001]",
                "spec.http[0].match[0].urii: unknown field [IST0106]",
            ],
        ),
        (
            "fault: {delay: {fixedDelay: 7 seconds}}\nroute: [{destination: {host: a}}]",
            &[
                "spec.http[0].fault.delay.fixedDelay: `7 seconds` is not a duration such as 5s, 1.5s or 100ms [IST0106]",
            ],
        ),
        (
            "fault: {abort: {httpStatus: 600, percentage: {value: 101}}}\nroute: [{destination: {host: a}}]",
            &[
                "spec.http[0].fault.abort.httpStatus: must be between 200 and 599 [IST0106]",
                "spec.http[0].fault.abort.percentage.value: must be between 0 and 100 [IST0106]",
            ],
        ),
        (
            "match: [{uri: {exact: /a, regex: '('}}]\nroute: [{destination: {host: a}, weight: 0}, {destination: {host: b}, weight: 0}]",
            &[
                "spec.http[0].match[0].uri: only one of exact, regex may be set [IST0106]",
                "spec.http[0].match[0].uri.regex: not a regular expression: unclosed group [IST0106]",
                "spec.http[0].route: all weights are 0 [IST0106]",
            ],
        ),
        (
            "redirect: {uri: /x}\nroute: [{destination: {}}]",
            &[
                "spec.http[0]: only one of route, redirect may be set [IST0106]",
                "spec.http[0].route[0].destination.host: required [IST0106]",
            ],
        ),
        (
            "route: [{destination: {host: a, port: {number: 70000}}}]",
            &[
                "spec.http[0].route[0].destination.port.number: invalid value: integer `70000`, expected u16 [IST0106]",
            ],
        ),
        (
            "retries: {attempts: 2, retryOn: 'sometimes,retriable-headers'}\nroute: [{destination: {host: a}}]",
            &[
                "spec.http[0].retries.retryOn: `sometimes` is not a retry condition [IST0106]",
                "spec.http[0].retries.retryOn: `retriable-headers` is not supported yet [AMB0001]",
            ],
        ),
        (
            "route: [{destination: {host: a}, headers: {request: {set: {Host: 'a b'}}}}]\nrewrite: {authority: 'a/b'}",
            &[
                "spec.http[0].route[0].headers.request.set.Host: `a b` is not a host with or without a port [IST0106]",
                "spec.http[0].rewrite.authority: `a/b` is not a host with or without a port [IST0106]",
            ],
        ),
        (
            "redirect: {authority: 'a:b', uri: /}",
            &[
                "spec.http[0].redirect.authority: `a:b` is not a host with or without a port [IST0106]",
            ],
        ),
        ("redirect: {authority: '[2001:db8::1]:80'}", &[]),
        (
            "name: x",
            &["spec.http[0]: one of route, redirect, directResponse is required [IST0106]"],
        ),
    ];
    for (http, expected) in table {
        assert_eq!(findings(&virtual_service(http)), *expected, "{http}");
    }
}

#[test]
fn rules_behind_a_catch_all_are_warned_about() {
    let text = "{apiVersion: networking.istio.io/v1beta1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}, {route: [{destination: {host: b}}]}]}}";
    assert_eq!(
        findings(text),
        ["~spec.http[1]: never reached: spec.http[0] takes every request [IST0130]"]
    );
}

#[test]
fn virtual_service_top_level() {
    let text = "{apiVersion: networking.istio.io/v1alpha3, kind: VirtualService, metadata: {name: a}, spec: {gateways: [ingress], tls: [{}], http: []}}";
    assert_eq!(findings(text), ["spec.tls: not supported yet [AMB0001]"]);
    let text = "{apiVersion: networking.istio.io/v1alpha3, kind: VirtualService, metadata: {name: a}, spec: {gateways: [ingress], hosts: ['_x']}}";
    assert_eq!(
        findings(text),
        [
            "spec.hosts[0]: `_x` is not a host name [IST0106]",
            "spec.http: required [IST0106]",
        ]
    );
}

#[test]
fn istio_gateways() {
    let gateway = |servers: &str| {
        findings(&format!(
            "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: a}}, spec: {{selector: {{istio: ingressgateway}}, servers: {servers}}}}}"
        ))
    };
    let good = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*', './a.example', 'ns/*.b.example']}]";
    assert!(gateway(good).is_empty());
    assert_eq!(
        gateway(
            "[{port: {number: 443, name: tls, protocol: HTTPS}, tls: {mode: SIMPLE}, hosts: ['*']}]"
        ),
        ["~spec.servers[0].port.protocol: protocol HTTPS is not supported yet [AMB0001]"]
    );
    assert_eq!(
        gateway(
            "[{port: {number: 15008, name: x, protocol: HTTP}, tls: {httpsRedirect: true}, hosts: ['_']}]"
        ),
        [
            "spec.servers[0].port.number: is one of the proxy's own [IST0106]",
            "spec.servers[0].tls: not supported yet: only plaintext HTTP is served [AMB0001]",
            "spec.servers[0].hosts[0]: `_` is not a host name [IST0106]",
        ]
    );
    assert_eq!(gateway("[]"), ["spec.servers: required [IST0106]"]);
}

#[test]
fn destination_rules() {
    let good = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: LEAST_CONN}, connectionPool: {tcp: {connectTimeout: 3s}}, tls: {mode: ISTIO_MUTUAL}}
  subsets: [{name: v1, labels: {version: v1}}]
";
    assert_eq!(findings(good), Vec::<String>::new());
    let bad = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}, outlierDetection: {}, odd: 1}
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {}}]
";
    assert_eq!(
        findings(bad),
        [
            "spec.trafficPolicy.loadBalancer.consistentHash: not supported yet [AMB0001]",
            "spec.trafficPolicy.outlierDetection: not supported yet [AMB0001]",
            "spec.trafficPolicy.odd: unknown field [IST0106]",
            "spec.subsets[0].trafficPolicy: not supported yet [AMB0001]",
        ]
    );
    let values = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {host: a, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}, tls: {mode: SIMPLE}}, subsets: [{name: 'a/b', labels: {x: z}}, {name: c, labels: {x: z}}, {name: c, labels: {x: z}}]}}";
    assert_eq!(
        findings(values),
        [
            "spec.subsets[0].name: must be letters, digits, `-`, `_` and `.`, at most 63 [IST0106]",
            "spec.subsets[2].name: used by an earlier subset [IST0106]",
            "spec.trafficPolicy.loadBalancer.simple: PASSTHROUGH is not supported yet [AMB0001]",
            "spec.trafficPolicy.tls.mode: SIMPLE is not supported yet [AMB0001]",
        ]
    );
}

#[test]
fn authorization_policies() {
    let good = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ratings, namespace: prod}
spec:
  selector: {matchLabels: {app: ratings}}
  action: DENY
  rules:
  - from: [{source: {principals: ['cluster.local/ns/prod/sa/*'], ipBlocks: [10.0.0.0/8, '::1']}}]
    to: [{operation: {ports: ['9080']}}]
    when: [{key: source.ip, notValues: [1.2.3.4]}]
";
    assert_eq!(findings(good), Vec::<String>::new());
    let deny_all = "{apiVersion: security.istio.io/v1beta1, kind: AuthorizationPolicy, metadata: {name: nothing}, spec: {}}";
    assert_eq!(findings(deny_all), Vec::<String>::new());
    let bad = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ratings, namespace: prod}
spec:
  selector: {}
  targetRefs: [{kind: Pod, name: x}]
  provider: {name: x}
  rules:
  - from: [{source: {}}, {source: {serviceAccounts: ['a/b/c'], principals: [x]}}]
    to: [{operation: {ports: ['http']}}]
    when: [{key: source.colour, values: [red]}, {key: source.ip, values: ['300.1.1.1']}]
";
    assert_eq!(
        findings(bad),
        [
            "spec: only one of selector, targetRefs may be set [IST0106]",
            "spec.targetRefs[0].kind: `Pod` of group `` cannot be a target; use Service, Gateway or GatewayClass [IST0106]",
            "spec.provider: only allowed with action CUSTOM [IST0106]",
            "spec.rules[0].from[0].source: must have at least one field [IST0106]",
            "spec.rules[0].from[1].source: serviceAccounts cannot be combined with principals or namespaces [IST0106]",
            "spec.rules[0].from[1].source.serviceAccounts[0]: must be `name` or `namespace/name`, without `*` [IST0106]",
            "spec.rules[0].to[0].operation.ports[0]: `http` is not a port between 1 and 65535 [IST0106]",
            "spec.rules[0].when[0].key: `source.colour` is not an attribute [IST0106]",
            "spec.rules[0].when[1].values[0]: `300.1.1.1` is not an address or CIDR [IST0106]",
        ]
    );
    // A misspelt field must never leave a rule wider than meant.
    let typo = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {rules: [{form: [{source: {namespaces: [a]}}]}]}}";
    assert_eq!(
        findings(typo),
        ["spec.rules[0].form: unknown field [IST0106]"]
    );
}

#[test]
fn authorization_rules_say_who_enforces_them() {
    let rules = "rules: [{to: [{operation: {methods: [GET], paths: ['/a/{*}']}}]},
        {from: [{source: {requestPrincipals: ['*']}}], when: [{key: 'request.headers[x]', values: [z]}]},
        {from: [{source: {principals: [a]}}]}]";
    let policy = |spec: &str| {
        findings(&format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: a}}, spec: {{{spec}, {rules}}}}}"
        ))
    };
    let name = "name a Service or Gateway in targetRefs to have a waypoint enforce it [IST0131]";
    assert_eq!(
        policy("selector: {matchLabels: {app: a}}"),
        [
            format!(
                "~spec.rules[0]: node proxies cannot match to[0].operation.methods, to[0].operation.paths, \
                 so this rule allows nothing; {name}"
            ),
            format!(
                "~spec.rules[1]: node proxies cannot match from[0].source.requestPrincipals, \
                 when[0] (request.headers[x]), so this rule allows nothing; {name}"
            ),
        ]
    );
    let targets = "targetRefs: [{kind: Service, name: a}], action: DENY";
    assert_eq!(
        policy(targets),
        [
            "~spec.rules[1]: waypoints cannot match from[0].source.requestPrincipals yet, \
             so this rule denies without regard to it [AMB0001]"
        ]
    );
    for path in ["{*}", "/a{*}", "/{**}/{*}", "/{x}"] {
        let text = format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: a}},
              spec: {{targetRefs: [{{kind: Service, name: a}}], rules: [{{to: [{{operation: {{paths: ['{path}']}}}}]}}]}}}}"
        );
        let found = findings(&text);
        assert!(
            found.len() == 1 && found[0].contains("paths[0]: not a template"),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn peer_authentications() {
    let good = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: a}
spec: {selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}
";
    assert_eq!(findings(good), Vec::<String>::new());
    let disabled = good.replace("PERMISSIVE", "DISABLE");
    assert_eq!(
        findings(&disabled),
        [format!(
            "~spec.portLevelMtls.8080.mode: {DISABLED} [AMB0001]"
        )]
    );
    let bad = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {portLevelMtls: {http: {mode: STRICT}}}}";
    assert_eq!(
        findings(bad),
        [
            "spec.portLevelMtls: only allowed together with a selector [IST0106]",
            "spec.portLevelMtls.http: the key must be a port between 1 and 65535 [IST0106]",
        ]
    );
    let mode = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {mtls: {mode: strict}}}";
    assert!(findings(mode)[0].starts_with("spec.mtls.mode: unknown variant `strict`"));
}

#[test]
fn grpc_routes() {
    let route = |rule: &str| {
        let text = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {{name: a}},
              spec: {{parentRefs: [{{name: front}}], hostnames: [shop.example], rules: [{rule}]}}}}"
        );
        findings(&text)
    };
    let backend = "backendRefs: [{name: cart, port: 9000}]";
    let good = "matches: [{method: {service: shop.v1.Cart, method: Add_2}, headers: [{name: x, value: z}]}]";
    assert_eq!(
        route(&format!("{{{good}, {backend}}}")),
        Vec::<String>::new()
    );
    for (rule, expected) in [
        (
            "{matches: [{method: {}}]}",
            "spec.rules[0].matches[0].method: service, method or both must be set [IST0106]",
        ),
        (
            "{matches: [{method: {service: 'a/b'}}]}",
            "spec.rules[0].matches[0].method.service: `a/b` is not a name of gRPC [IST0106]",
        ),
        (
            "{matches: [{method: {type: RegularExpression, method: '('}}]}",
            "spec.rules[0].matches[0].method.method: not a regular expression: unclosed group [IST0106]",
        ),
        (
            "{filters: [{type: URLRewrite, urlRewrite: {hostname: h}}]}",
            "spec.rules[0].filters[0].type: not a filter of a GRPCRoute [IST0106]",
        ),
        (
            "{backendRefs: [{name: cart}]}",
            "spec.rules[0].backendRefs[0].port: required for a Service [IST0106]",
        ),
        (
            "{sessionPersistence: {}}",
            "spec.rules[0].sessionPersistence: not supported yet [AMB0001]",
        ),
        (
            "{timeouts: {request: 1s}}",
            "spec.rules[0].timeouts: unknown field [IST0106]",
        ),
    ] {
        assert_eq!(route(rule), [expected], "{rule}");
    }
}

#[test]
fn interfaces_that_the_node_would_pass_over_are_told() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {istio.io/reroute-virtual-interfaces: \"tap0, a/b\"}}}";
    assert_eq!(
        findings(pod),
        [
            "~metadata.annotations.istio.io/reroute-virtual-interfaces: \"a/b\" is no name of an interface, and has no effect [IST0106]"
        ]
    );
    for fine in [
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {istio.io/rev: canary}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {istio.io/connect-strategy: b}}}",
    ] {
        assert_eq!(findings(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn kinds_that_nothing_acts_on_are_taken_with_a_word_on_it() {
    for (group, kind) in [
        ("security.istio.io", "RequestAuthentication"),
        ("telemetry.istio.io", "Telemetry"),
    ] {
        let text = format!(
            "{{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: a}}, spec: {{any: [thing]}}}}"
        );
        let expected =
            format!("~kind: {kind} of {group} is not supported and has no effect [AMB0001]");
        assert_eq!(findings(&text), [expected]);
    }
}

#[test]
fn gateways_and_routes() {
    let waypoint = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: default, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
status: {addresses: [{type: IPAddress, value: 10.0.0.1}], conditions: [{type: Programmed, status: 'True'}], listeners: []}
";
    assert_eq!(findings(waypoint), Vec::<String>::new());
    let Object::Gateway(gateway) = Object::parse(yaml(waypoint)).unwrap() else {
        panic!("not a Gateway");
    };
    assert_eq!(gateway.status.unwrap().addresses[0].value, "10.0.0.1");

    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: '', kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /a}, headers: [{name: end-user, value: jason}], method: GET}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}, {type: RequestMirror, requestMirror: {backendRef: {name: reviews-v3, port: 9080}, percent: 5}}]
    backendRefs: [{name: reviews-v1, port: 9080, weight: 90}, {name: reviews-v2, port: 9080, weight: 10}]
    timeouts: {request: 10s, backendRequest: 2s}
";
    assert_eq!(findings(route), Vec::<String>::new());
    let bad = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{kind: Listener, name: x}]
  rules:
  - matches: [{path: {value: a}, headers: [{name: 'x y', value: z}], method: get}]
    filters: [{type: CORS}, {type: RequestRedirect}, {type: URLRewrite, requestMirror: {backendRef: {name: a, port: 1}}}]
    backendRefs: [{name: a}, {kind: Bucket, name: b}]
    timeouts: {request: 1s, backendRequest: 2s}
";
    assert_eq!(
        findings(bad),
        [
            "spec.parentRefs[0]: `Listener` of group `gateway.networking.k8s.io` is not supported yet [AMB0001]",
            "spec.rules[0].matches[0].path.value: must start with `/` [IST0106]",
            "spec.rules[0].matches[0].headers[0].name: `x y` is not a header name [IST0106]",
            "spec.rules[0].matches[0].method: `get` is not one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH [IST0106]",
            "spec.rules[0].filters[0].type: not supported yet [AMB0001]",
            "spec.rules[0].filters[1].requestRedirect: required by the type [IST0106]",
            "spec.rules[0].filters[2].urlRewrite: required by the type [IST0106]",
            "spec.rules[0].filters[2].requestMirror: does not belong to the type [IST0106]",
            "spec.rules[0].filters: RequestRedirect and URLRewrite exclude each other [IST0106]",
            "spec.rules[0].backendRefs: not allowed together with a RequestRedirect filter [IST0106]",
            "spec.rules[0].backendRefs[0].port: required for a Service [IST0106]",
            "spec.rules[0].backendRefs[1]: `Bucket` of group `` is not supported yet [AMB0001]",
            "spec.rules[0].timeouts.backendRequest: must not be longer than timeouts.request [IST0106]",
        ]
    );
    let duration = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {rules: [{timeouts: {request: 1.5s}, retry: {}}]}}";
    let found = findings(duration);
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("spec.rules[0].timeouts.request: `1.5s`")),
        "{found:?}"
    );
}

#[test]
fn core_kinds_tolerate_what_newer_servers_add() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b, labels: {app: a}, creationTimestamp: '2026-01-02T03:04:05Z', uid: u1}, spec: {containers: [{name: c, newField: 1}]}, status: {podIP: 10.0.0.1}}";
    let object = Object::parse(yaml(pod)).unwrap();
    assert_eq!(object.key().to_string(), "Pod b/a");
    assert_eq!(object.labels()["app"], "a");
    assert_eq!(object.uid(), Some("u1"));
    assert_eq!(
        object.created().unwrap().to_string(),
        "2026-01-02T03:04:05Z"
    );
    let wrong =
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}}";
    assert!(
        findings(wrong)[0].starts_with("spec.ports[0].port: invalid type"),
        "{:?}",
        findings(wrong)
    );
}

#[test]
fn identity_of_documents() {
    let table: &[(&str, &str)] = &[
        (
            "[]",
            ": a document must be a map with apiVersion and kind [IST0106]",
        ),
        ("{}", "apiVersion: required [IST0106]"),
        ("{apiVersion: v1}", "kind: required [IST0106]"),
        (
            "{apiVersion: v1, kind: Pod}",
            "metadata: required [IST0106]",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {}}",
            "metadata.name: required [IST0106]",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: ../../etc}}",
            "metadata.name: must be lower-case letters, digits, `-` and `.`, at most 253 [IST0106]",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: n}}",
            "metadata.namespace: must be text; quote it [IST0106]",
        ),
        (
            "{apiVersion: apps/v1, kind: Deploy}",
            "metadata.name: required [IST0106]",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ..}}",
            "metadata.namespace: must be lower-case letters, digits and `-`, at most 63 [IST0106]",
        ),
        (
            "{apiVersion: security.istio.io/v9, kind: PeerAuthentication, metadata: {name: a}}",
            "apiVersion: version `v9` of PeerAuthentication is not read, expected one of v1, v1beta1 [IST0106]",
        ),
        (
            "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, sepc: {}}",
            "sepc: unknown field [IST0106]",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), [*expected], "{text}");
    }
    let other = Object::parse(yaml(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}",
    ))
    .unwrap();
    assert_eq!(other.kind(), Kind::Other("apps/Deployment".into()));
    let istio = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a}}";
    assert_eq!(
        Object::parse(yaml(istio)).unwrap().kind(),
        Kind::IstioGateway
    );
    let sidecar = "{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: a}}";
    let Object::Other(sidecar) = Object::parse(yaml(sidecar)).unwrap() else {
        panic!("a Sidecar is not read");
    };
    assert!(sidecar.expects_mesh());
    let default = Object::parse(yaml(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}",
    ))
    .unwrap();
    assert_eq!(&*default.key().namespace, "default");
}

#[test]
fn hostile_nesting_is_an_error_not_a_crash() {
    let mut value = Value::Null;
    for _ in 0..200 {
        value = Value::Array(vec![value]);
    }
    let object = serde_json::json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "a"}, "spec": value,
    });
    let errors = Object::parse(object).unwrap_err();
    assert_eq!(errors[0].reason, "nested too deep");
    assert_eq!(errors[0].code, Code::Schema);
    assert_eq!(errors[0].object.to_string(), "VirtualService a");
}

#[test]
fn what_is_unsupported_is_named_field_by_field() {
    let all = "
match: [{sourceNamespace: a, statPrefix: b, uri: {prefix: /}}]
route: [{destination: {host: a}}]
delegate: {name: x}
mirrorPercent: 5
fault: {delay: {fixedDelay: 1s, percent: 5, exponentialDelay: 1s}, abort: {httpStatus: 500, http2Error: X, percent: 1}}
retries: {attempts: 1, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}";
    let found = findings(&virtual_service(all.trim_start()));
    assert_eq!(found.len(), 10, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|f| f.ends_with("not supported yet [AMB0001]")),
        "{found:#?}"
    );
}

#[test]
fn nulls_count_as_absent_except_in_lists() {
    let text = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, labels: null}, spec: {selector: null, rules: null}, status: null}";
    assert_eq!(findings(text), Vec::<String>::new());
    let text = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {rules: [null]}}";
    let found = findings(text);
    // Taking it for an empty rule would allow everything.
    assert!(
        found.len() == 1 && found[0].starts_with("spec.rules[0]: invalid type: null"),
        "{found:?}"
    );
}

#[test]
fn every_known_kind_is_found_by_its_resource() {
    for kind in Kind::KNOWN {
        let found = Kind::from_resource(&kind.resource());
        assert_eq!(found.as_ref(), Some(kind), "{}", kind.resource());
    }
    assert_eq!(Kind::Gateway.resource(), "gateways");
    assert_eq!(
        Kind::IstioGateway.resource(),
        "gateways.networking.istio.io"
    );
}
