use super::*;
use std::collections::BTreeMap;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let required = [
        ("GATEWAY", "shop/waypoint"),
        ("POD_NAME", "waypoint-1"),
        ("POD_NAMESPACE", "shop"),
        ("SERVICE_ACCOUNT", "waypoint"),
    ];
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    required
        .iter()
        .map(own)
        .chain(pairs.iter().map(own))
        .collect()
}

#[test]
fn defaults_are_those_of_a_pod_in_a_cluster() {
    let config = Config::from_env(&env(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1")])).unwrap();
    assert_eq!(config.xds.address, "https://istiod.istio-system.svc:15012");
    assert_eq!(config.ca.roots, RootSource::File(ROOT_CERT.into()));
    assert_eq!(config.listen.hbone.port(), 15008);
    assert_eq!(config.termination_deadline, Duration::from_secs(5));
    assert_eq!(config.pod.trust_domain, "cluster.local");
    assert_eq!(config.log_format, Format::Plain);
    assert!(config.workers >= 1);
}

#[test]
fn grace_periods_leave_time_to_end() {
    for (seconds, expected) in [("60", 55), ("10", 9), ("2", 1), ("0", 1)] {
        let config = Config::from_env(&env(&[("TERMINATION_GRACE_PERIOD_SECONDS", seconds)]));
        assert_eq!(
            config.unwrap().termination_deadline,
            Duration::from_secs(expected),
            "{seconds}"
        );
    }
}

#[test]
fn tokens_and_roots_may_be_given_inline() {
    let pem = "-----BEGIN CERTIFICATE-----";
    let config = Config::from_env(&env(&[("AUTH_TOKEN", "abc"), ("XDS_ROOT_CA", pem)])).unwrap();
    assert!(matches!(config.token, Some(TokenSource::Literal(_))));
    assert_eq!(config.xds.roots, RootSource::Pem(pem.into()));
}

#[test]
fn all_mistakes_are_reported_together() {
    let mut env = env(&[
        ("GATEWAY", "shop"),
        ("WORKERS", "many"),
        ("XDS_ADDRESS", "http://plain:15012"),
        ("LOG_FORMAT", "xml"),
        ("SECRET_TTL", "soon"),
    ]);
    env.remove("POD_NAME");
    let mistakes = Config::from_env(&env).unwrap_err();
    let names: Vec<_> = mistakes.0.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "GATEWAY",
            "WORKERS",
            "POD_NAME",
            "XDS_ADDRESS",
            "SECRET_TTL",
            "LOG_FORMAT"
        ]
    );
}

#[test]
fn limits_can_be_moved_but_not_switched_off() {
    let given = [
        ("AMBIT_HEAD_TIMEOUT", "2s"),
        ("AMBIT_IDLE_TIMEOUT", "5m"),
        ("AMBIT_MAX_HEADER_BYTES", "16384"),
        ("AMBIT_MAX_HEADERS", "64"),
        ("AMBIT_MAX_STREAMS", "10"),
    ];
    let limits = Config::from_env(&env(&given)).unwrap().limits;
    let times = (limits.head, limits.idle);
    assert_eq!(times, (Duration::from_secs(2), Duration::from_secs(300)));
    let sizes = (limits.header_bytes, limits.headers, limits.streams);
    assert_eq!(sizes, (16384, 64, 10));
    assert_eq!(
        Config::from_env(&env(&[])).unwrap().limits,
        Limits::default()
    );
    for (name, value) in [
        ("AMBIT_HEAD_TIMEOUT", "0s"),
        ("AMBIT_IDLE_TIMEOUT", "0"),
        ("AMBIT_MAX_HEADER_BYTES", "100"),
        ("AMBIT_MAX_HEADERS", "0"),
        ("AMBIT_MAX_STREAMS", "0"),
    ] {
        let mistakes = Config::from_env(&env(&[(name, value)])).unwrap_err();
        assert_eq!(mistakes.0[0].name, name, "{value}");
    }
}
