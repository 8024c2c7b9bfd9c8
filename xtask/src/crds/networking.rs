//! `networking.istio.io`: all kinds but VirtualService. Pure.

use serde_json::Value;

use super::schema::{
    about, any, count, duration, flag, integer, labels, list, map_of, open, port, required, text,
    texts, word,
};

pub(super) fn destination_rule() -> Value {
    let subset = required(
        &["name"],
        open(&[
            ("name", text()),
            ("labels", labels()),
            ("trafficPolicy", traffic_policy()),
        ]),
    );
    required(
        &["host"],
        open(&[
            ("host", about("Service it is for.", text())),
            ("trafficPolicy", traffic_policy()),
            ("subsets", about("Named groups of its pods.", list(subset))),
            (
                "exportTo",
                about("Namespaces that see it: `.`, `*` or names.", texts()),
            ),
            ("workloadSelector", open(&[("matchLabels", labels())])),
        ]),
    )
}

fn traffic_policy() -> Value {
    open(&[
        ("loadBalancer", load_balancer()),
        ("connectionPool", connection_pool()),
        ("outlierDetection", outlier_detection()),
        ("tls", tls()),
        ("portLevelSettings", list(any())),
        ("tunnel", any()),
        ("proxyProtocol", any()),
        ("retryBudget", any()),
    ])
}

fn load_balancer() -> Value {
    let simple = word(&[
        "UNSPECIFIED",
        "LEAST_CONN",
        "RANDOM",
        "PASSTHROUGH",
        "ROUND_ROBIN",
        "LEAST_REQUEST",
    ]);
    open(&[
        ("simple", simple),
        ("consistentHash", any()),
        ("localityLbSetting", any()),
        ("warmup", any()),
        ("warmupDurationSecs", duration()),
    ])
}

fn connection_pool() -> Value {
    let keepalive = open(&[
        ("probes", count()),
        ("time", duration()),
        ("interval", duration()),
    ]);
    let tcp = open(&[
        ("maxConnections", integer()),
        ("connectTimeout", duration()),
        ("tcpKeepalive", keepalive),
        ("maxConnectionDuration", duration()),
        ("idleTimeout", duration()),
    ]);
    let http = open(&[
        ("http1MaxPendingRequests", integer()),
        ("http2MaxRequests", integer()),
        ("maxRequestsPerConnection", integer()),
        ("maxRetries", integer()),
        ("idleTimeout", duration()),
        ("maxConcurrentStreams", integer()),
        ("useClientProtocol", flag()),
        (
            "h2UpgradePolicy",
            word(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]),
        ),
    ]);
    open(&[("tcp", tcp), ("http", http)])
}

fn outlier_detection() -> Value {
    open(&[
        ("consecutiveErrors", integer()),
        ("consecutive5xxErrors", count()),
        ("consecutiveGatewayErrors", count()),
        ("consecutiveLocalOriginFailures", count()),
        ("splitExternalLocalOriginErrors", flag()),
        ("interval", duration()),
        ("baseEjectionTime", duration()),
        ("maxEjectionPercent", integer()),
        ("minHealthPercent", integer()),
    ])
}

fn tls() -> Value {
    open(&[
        (
            "mode",
            word(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]),
        ),
        ("clientCertificate", text()),
        ("privateKey", text()),
        ("caCertificates", text()),
        ("caCrl", text()),
        ("credentialName", text()),
        ("subjectAltNames", texts()),
        ("sni", text()),
        ("insecureSkipVerify", flag()),
    ])
}

pub(super) fn gateway() -> Value {
    let tls = open(&[
        ("httpsRedirect", flag()),
        (
            "mode",
            word(&[
                "PASSTHROUGH",
                "SIMPLE",
                "MUTUAL",
                "AUTO_PASSTHROUGH",
                "ISTIO_MUTUAL",
                "OPTIONAL_MUTUAL",
            ]),
        ),
        ("credentialName", text()),
        ("subjectAltNames", texts()),
    ]);
    let named_port = required(
        &["number", "protocol", "name"],
        open(&[
            ("number", port()),
            ("protocol", text()),
            ("name", text()),
            ("targetPort", port()),
        ]),
    );
    let server = required(
        &["port", "hosts"],
        open(&[
            ("port", named_port),
            ("hosts", texts()),
            ("bind", text()),
            ("name", text()),
            ("defaultEndpoint", text()),
            ("tls", tls),
        ]),
    );
    open(&[
        ("selector", about("Labels of the gateway pods.", labels())),
        ("servers", list(server)),
    ])
}

pub(super) fn service_entry() -> Value {
    let named_port = required(
        &["number", "name"],
        open(&[
            ("number", port()),
            ("protocol", text()),
            ("name", text()),
            ("targetPort", port()),
        ]),
    );
    required(
        &["hosts"],
        open(&[
            ("hosts", texts()),
            ("addresses", texts()),
            ("ports", list(named_port)),
            ("location", word(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
            (
                "resolution",
                word(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]),
            ),
            ("endpoints", list(workload_entry())),
            ("workloadSelector", open(&[("labels", labels())])),
            ("exportTo", texts()),
            ("subjectAltNames", texts()),
        ]),
    )
}

pub(super) fn workload_entry() -> Value {
    open(&[
        ("address", about("An IP address or a name.", text())),
        ("ports", map_of(port())),
        ("labels", labels()),
        ("network", text()),
        ("locality", about("`region/zone/subzone`.", text())),
        ("weight", count()),
        ("serviceAccount", text()),
    ])
}
