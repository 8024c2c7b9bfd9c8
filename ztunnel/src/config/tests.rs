use super::*;
use std::collections::BTreeMap;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn read(pairs: &[(&str, &str)]) -> Config {
    Config::from_env(&env(pairs)).unwrap()
}

#[test]
fn defaults_are_upstreams() {
    let config = read(&[]);
    assert_eq!(config.node.cluster_id, "Kubernetes");
    assert_eq!(config.node.cluster_domain, "cluster.local");
    assert_eq!(config.xds.unwrap().address, "https://localhost:15012");
    assert_eq!(config.tunnel.max_streams_per_tunnel, 100);
    assert_eq!(config.termination_deadline, Duration::from_secs(5));
    assert_eq!(config.packet_mark, 0x539);
    assert_eq!(config.ports.admin, "127.0.0.1:15000".parse().unwrap());
    assert!(config.dns.enabled && config.ipv6 && config.keepalive.is_some());
}

#[test]
fn names_and_forms() {
    let config = read(&[
        ("XDS_ADDRESS", "10.0.0.1:15012"),
        ("CA_ROOT_CA", "-----BEGIN CERTIFICATE-----"),
        ("ALT_CA_HOSTNAME", "istiod.istio-system.svc"),
        ("CLUSTER_ID", "a"),
        ("ISTIO_META_CLUSTER_ID", "b"),
        ("AUTH_TOKEN", "/tokens/t"),
        ("AMBIT_NAMESERVERS", "10.96.0.10, fd00::1"),
        ("ZTUNNEL_WORKER_THREADS", "2"),
        ("LOG_FORMAT", "json"),
        ("KEEPALIVE_ENABLED", "false"),
    ]);
    assert_eq!(config.xds.unwrap().address, "https://10.0.0.1:15012");
    assert!(matches!(config.ca.root, RootCertificate::Inline(_)));
    assert_eq!(
        config.ca.server_name.as_deref(),
        Some("istiod.istio-system.svc")
    );
    assert_eq!(config.node.cluster_id, "b");
    assert_eq!(config.token, Token::File("/tokens/t".into()));
    assert_eq!(config.dns.nameservers.len(), 2);
    assert_eq!((config.workers, config.log_format), (2, Format::Json));
    assert!(config.keepalive.is_none());
}

#[test]
fn an_empty_xds_address_switches_it_off() {
    assert!(read(&[("XDS_ADDRESS", "")]).xds.is_none());
}

#[test]
fn the_deadline_leaves_time_to_end() {
    let cases = [("30", 25), ("11", 6), ("10", 9), ("1", 1), ("0", 1)];
    for (grace, expected) in cases {
        let config = read(&[("TERMINATION_GRACE_PERIOD_SECONDS", grace)]);
        assert_eq!(
            config.termination_deadline,
            Duration::from_secs(expected),
            "{grace}"
        );
    }
    let both = [
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30"),
        ("CONNECTION_TERMINATION_DEADLINE", "7s"),
    ];
    assert_eq!(read(&both).termination_deadline, Duration::from_secs(7));
}

#[test]
fn all_mistakes_are_reported_together() {
    let mistakes = Config::from_env(&env(&[
        ("ZTUNNEL_WORKER_THREADS", "many"),
        ("PROXY_MODE", "dedicated"),
        ("LOCAL_XDS", "/xds"),
        ("XDS_ON_DEMAND", "true"),
        ("CA_ADDRESS", "ftp://x"),
        ("LOG_FORMAT", "xml"),
        ("SECRET_TTL", "soon"),
        ("PACKET_MARK", "-1"),
        ("AMBIT_NAMESERVERS", "10.0.0.1,dns"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "0"),
    ]))
    .unwrap_err();
    let mut names: Vec<_> = mistakes.0.iter().map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "AMBIT_NAMESERVERS",
            "CA_ADDRESS",
            "LOCAL_XDS",
            "LOG_FORMAT",
            "PACKET_MARK",
            "POOL_MAX_STREAMS_PER_CONNECTION",
            "PROXY_MODE",
            "SECRET_TTL",
            "XDS_ON_DEMAND",
            "ZTUNNEL_WORKER_THREADS",
        ]
    );
}

#[test]
fn resolv_conf_lines() {
    let text = "# x\nnameserver 10.96.0.10\n nameserver\tfd00::1 \nnameserver bad\nsearch a b\n";
    let expected: [IpAddr; 2] = ["10.96.0.10".parse().unwrap(), "fd00::1".parse().unwrap()];
    assert_eq!(resolv_conf(text), expected);
}

#[test]
fn what_has_no_effect_is_told_and_what_would_weaken_a_promise_is_refused() {
    let given = env(&[
        ("ENABLE_ORIG_SRC", "true"),
        ("INPOD_PORT_REUSE", "false"),
        ("LOCALHOST_APP_TUNNEL", "true"),
        ("AUTHZ_POLICY_INFO_LOGGING", "true"),
        ("PREFERED_SERVICE_NAMESPACE", "shop"),
        ("ISTIO_META_DNS_CAPTURE", "false"),
        ("ISTIO_META_OWNER", "me"),
        ("XDS_HEADER_TENANT", "a"),
        ("ISTIO_METAJSON_LABELS", "{}"),
        ("HOSTNAME", "node"),
    ]);
    let names: Vec<_> = given.keys().cloned().collect();
    let config = Config::from_names(&given, &names).unwrap();
    let told: Vec<_> = config.unheeded.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(
        told,
        [
            "INPOD_PORT_REUSE",
            "AUTHZ_POLICY_INFO_LOGGING",
            "PREFERED_SERVICE_NAMESPACE",
            "ISTIO_METAJSON_LABELS",
            "ISTIO_META_OWNER",
            "XDS_HEADER_TENANT",
        ]
    );
    assert_eq!(read(&[]).unheeded, []);
    let weaker = Config::from_env(&env(&[("ENABLE_ORIG_SRC", "false")])).unwrap_err();
    assert!(
        weaker
            .to_string()
            .contains("always see the address of their client")
    );
    let wrong = Config::from_env(&env(&[("INPOD_PORT_REUSE", "maybe")]));
    assert!(wrong.is_err());
}
