use super::*;
use ambit_net::relay::ResetCode;
use ambit_telemetry::logging::chain;
use std::time::Duration;

fn dial(kind: io::ErrorKind) -> DialError {
    DialError::Connect { to: "10.0.0.1:80".parse().unwrap(), source: kind.into() }
}

fn denied() -> Failure {
    Failure::Refused(Refusal::Policy(l4::Denial {
        policy: Some(PolicyKey::new("shop", "deny-all")),
        rule: Some(0),
        why: l4::Why::ExplicitDeny,
    }))
}

/// Flags: ztunnel's; statuses: what its peers expect; texts: what users search for.
#[test]
fn each_failure_has_flag_status_reason_and_text() {
    let after = Duration::from_secs(10);
    let timeout = TunnelDialError::Timeout { stage: Stage::Connect, after };
    let tls = TunnelDialError::Timeout { stage: Stage::Tls, after };
    let late = TunnelDialError::Connect(Box::new(DialError::Timeout {
        to: "10.0.0.1:15008".parse().unwrap(),
        after,
    }));
    let refused = ConnectError::Refused { status: StatusCode::UNAUTHORIZED, reason: None };
    let blocked = "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008";
    let cases: Vec<(Failure, &str, u16, &str, &str)> = vec![
        (denied(), "DENY", 401, "deny", "explicitly denied by: shop/deny-all"),
        (NotReady::NotSynced.into(), "CONNECT", 503, "not-ready", "configuration has not arrived"),
        (Failure::OwnSocket, "DENY", 503, "loop", "attempted recursive call to ourselves"),
        (OpenError::Dial(Arc::new(timeout)).into(), "NETWORK_POLICY", 503, "timeout", blocked),
        (OpenError::Dial(Arc::new(late)).into(), "NETWORK_POLICY", 503, "timeout", blocked),
        (OpenError::Dial(Arc::new(tls)).into(), "TLS_FAILURE", 503, "tls", "TLS handshake not done"),
        (OpenError::Connect(refused).into(), "DENY", 401, "deny", "http status: 401 Unauthorized"),
        (
            Failure::App(dial(io::ErrorKind::ConnectionRefused)),
            "CONNECT",
            503,
            "connect",
            "application not reachable: cannot connect to 10.0.0.1:80: connection refused",
        ),
        (
            Failure::Routing(Denial::ReservedPort { port: 15008 }),
            "DENY",
            503,
            "reserved-port",
            "attempted recursive call to ourselves",
        ),
        (
            Failure::Cut(Cut::PolicyChange),
            "DENY",
            401,
            "policy-change",
            "connection closed due to policy change",
        ),
        (
            Failure::Cut(Cut::Drain),
            "CONNECT",
            503,
            "drain",
            "connection closed due to connection drain",
        ),
        (
            Failure::Broken { by: Side::Server, source: StreamError::Reset(ResetCode::CANCEL) },
            "CONNECT",
            503,
            "broken",
            "server side broke",
        ),
    ];
    for (failure, flags, status, reason, text) in cases {
        let verdict = failure.verdict();
        let got = (verdict.flags, verdict.status.as_u16(), verdict.reason);
        assert_eq!(got, (flags, status, reason), "{failure:?}");
        assert!(chain(&failure).contains(text), "{}", chain(&failure));
    }
}

#[test]
fn a_denial_names_policy_and_rule() {
    let denied = denied();
    let (policy, rule) = denied.policy().unwrap();
    assert_eq!((policy.to_string().as_str(), rule), ("shop/deny-all", Some(0)));
    assert!(Failure::OwnSocket.policy().is_none());
}
