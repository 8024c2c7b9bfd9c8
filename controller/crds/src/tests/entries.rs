//! ServiceEntry, WorkloadEntry and ReferenceGrant.

use super::findings;

/// Labels, spec, findings.
const ENTRIES: &[(&str, &str, &[&str])] = &[
    ("", "{hosts: [a.b], resolution: DNS, PORT}", &[]),
    (
        "",
        "{hosts: ['*.b'], addresses: [10.0.0.0/8], resolution: STATIC, PORT, endpoints: [{address: 10.0.0.1, ports: {http: 8080}}]}",
        &[],
    ),
    ("", "{hosts: [a.b], addresses: [10.0.0.0/8], PORT}", &[]),
    (
        "",
        "{hosts: [a.b], resolution: STATIC, PORT, workloadSelector: {labels: {a: b}}}",
        &[],
    ),
    (
        "",
        "{PORT, addresses: [10.0.0.1]}",
        &["spec.hosts: required [IST0106]"],
    ),
    (
        "",
        "{hosts: ['*', 10.0.0.1, a.b, A.b, a_b], addresses: [10.0.0.1], PORT}",
        &[
            "spec.hosts[0]: `*` alone is no host of a service [IST0106]",
            "spec.hosts[1]: must be a name; addresses belong in spec.addresses [IST0106]",
            "spec.hosts[3]: `A.b` is repeated [IST0106]",
            "spec.hosts[4]: `a_b` is not a host name [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], addresses: [x, 10.0.0.0/8], resolution: DNS, PORT}",
        &[
            "spec.addresses[0]: `x` is no IP address and no block [IST0106]",
            "spec.addresses[1]: a block needs resolution NONE or STATIC [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], PORT}",
        &[
            "~spec.addresses: with resolution NONE no address is allocated; without one its traffic passes as unknown [IST0134]",
        ],
    ),
    (
        ", labels: {networking.istio.io/enable-autoallocate-ip: 'FALSE'}",
        "{hosts: [a.b], resolution: DNS, PORT}",
        &[
            "~spec.addresses: allocation is switched off by a label; without an address its traffic passes as unknown [IST0134]",
        ],
    ),
    (
        "",
        "{hosts: ['*.b'], resolution: DNS, PORT}",
        &[
            "~spec.addresses: no address is allocated for a wildcard; without one its traffic passes as unknown [IST0134]",
            "spec.hosts[0]: a wildcard cannot be resolved; give endpoints [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], resolution: STATIC, PORT}",
        &[
            "spec.endpoints: required with resolution STATIC, unless workloadSelector is set [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], resolution: STATIC, PORT, endpoints: [{address: x.y, ports: {other: 1}}, {address: 'unix:///x'}, {}], workloadSelector: {}}",
        &[
            "spec: only one of endpoints, workloadSelector may be set [IST0106]",
            "~spec.workloadSelector.labels: no labels, so it selects nothing [IST0131]",
            "spec.endpoints[0].address: must be an IP address with resolution STATIC [IST0106]",
            "spec.endpoints[0].ports.other: no port of the service has that name [IST0106]",
            "spec.endpoints[1].address: sockets of the file system are not supported yet [AMB0001]",
            "spec.endpoints[1].address: must be an IP address with resolution STATIC [IST0106]",
            "spec.endpoints[2].address: required [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], addresses: [10.0.0.1], PORT, endpoints: [{address: 10.0.0.2}]}",
        &[
            "spec.endpoints: not allowed with resolution NONE, which keeps the address that was dialled [IST0106]",
        ],
    ),
    (
        "",
        "{hosts: ['*.a.b', '*.b'], resolution: DYNAMIC_DNS, PORT}",
        &[],
    ),
    (
        ", labels: {istio.io/use-waypoint: none}",
        "{hosts: ['*.a.b'], location: MESH_INTERNAL, resolution: DYNAMIC_DNS, ports: [{number: 80, name: h, protocol: http2}]}",
        &[],
    ),
    (
        ", labels: {istio.io/use-waypoint: egress}",
        "{hosts: [a.b], location: MESH_INTERNAL, resolution: DYNAMIC_DNS, addresses: [10.0.0.1], endpoints: [{address: 10.0.0.2}], ports: [{number: 443, name: t, protocol: TLS}, {number: 1, name: x, protocol: TCP}, {number: 2, name: z}]}",
        &[
            "spec.hosts[0]: must be a wildcard with resolution DYNAMIC_DNS [IST0106]",
            "spec.addresses: not allowed with resolution DYNAMIC_DNS: hosts of requests lead to addresses [IST0106]",
            "spec.endpoints: not allowed with resolution DYNAMIC_DNS: hosts of requests lead to addresses [IST0106]",
            "~spec.ports[0].protocol: with resolution DYNAMIC_DNS server names of TLS are not followed, since clients choose them freely; connections to this port are refused [AMB0001]",
            "spec.ports[1].protocol: resolution DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS [IST0106]",
            "spec.ports[2].protocol: resolution DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS [IST0106]",
            "spec.location: MESH_INTERNAL is not supported with resolution DYNAMIC_DNS at a waypoint [IST0106]",
        ],
    ),
    (
        ", annotations: {istio.io/connect-strategy: race_first_tcp_connect}",
        "{hosts: [a.b], resolution: DNS, PORT}",
        &[],
    ),
    (
        ", annotations: {istio.io/connect-strategy: LAST}",
        "{hosts: [a.b], resolution: DNS, PORT}",
        &[
            "~metadata.annotations.istio.io/connect-strategy: `LAST` is no strategy; there is RACE_FIRST_TCP_CONNECT [IST0131]",
        ],
    ),
    (
        ", annotations: {istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT}",
        "{hosts: [a.b], addresses: [10.0.0.1], PORT}",
        &[
            "~metadata.annotations.istio.io/connect-strategy: has no effect without resolution DNS: there are no addresses to choose from [IST0131]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], resolution: DNS_ROUND_ROBIN, PORT, endpoints: [{address: c.d}, {address: e.f}]}",
        &["spec.endpoints: DNS_ROUND_ROBIN takes one endpoint [IST0106]"],
    ),
    (
        "",
        "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: a, protocol: X}, {number: 80, name: a, targetPort: 0}, {number: 53, name: d, protocol: UDP}]}",
        &[
            "spec.ports[0].protocol: `X` is no protocol [IST0106]",
            "spec.ports[1].number: used by an earlier port [IST0106]",
            "spec.ports[1].name: used by an earlier port [IST0106]",
            "spec.ports[1].targetPort: must be between 1 and 65535 [IST0106]",
            "~spec.ports[2].protocol: UDP is not carried; the port is left out [AMB0001]",
        ],
    ),
    (
        "",
        "{hosts: [a.b], resolution: DNS}",
        &["~spec.ports: without ports it takes no connection [IST0131]"],
    ),
];

#[test]
fn a_service_entry_is_judged_by_its_resolution() {
    let of = |meta: &str, spec: &str| {
        findings(&format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: a{meta}}}, spec: {spec}}}"
        ))
    };
    let port = "ports: [{number: 80, name: http, protocol: http}]";
    for (meta, spec, expected) in ENTRIES {
        assert_eq!(of(meta, &spec.replace("PORT", port)), *expected, "{spec}");
    }
}

#[test]
fn workload_entries_and_grants_are_judged() {
    let table: &[(&str, &[&str])] = &[
        (
            "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: a}, spec: {address: 'fd00::1', weight: 3}}",
            &[],
        ),
        (
            "{apiVersion: networking.istio.io/v1alpha3, kind: WorkloadEntry, metadata: {name: a}, spec: {address: 0.0.0.0, ports: {x: 0}, weight: 999999999, locality: a/b/c/d, serviceAccount: A_}}",
            &[
                "spec.address: is the address of nobody [IST0106]",
                "spec.ports.x: must be between 1 and 65535 [IST0106]",
                "spec.weight: must be at most 131072 [IST0106]",
                "spec.locality: must be region, region/zone or region/zone/subzone [IST0106]",
                "spec.serviceAccount: is not the name of a service account [IST0106]",
            ],
        ),
        (
            "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: a}, spec: {from: [{group: g, kind: k, namespace: ns}], to: [{group: '', kind: Service}]}}",
            &[],
        ),
        (
            "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: a}, spec: {from: [{namespace: NS}], to: [{}], x: 1}}",
            &["spec.x: unknown field [IST0106]"],
        ),
        (
            "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: a}, spec: {from: [{namespace: NS}], to: [{}]}}",
            &[
                "spec.from[0].kind: required [IST0106]",
                "spec.from[0].namespace: must be lower-case letters, digits and `-`, at most 63 [IST0106]",
                "spec.to[0].kind: required [IST0106]",
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), *expected, "{text}");
    }
}
