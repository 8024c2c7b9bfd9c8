use super::*;
use ambit_hbone::wire::connect::BadConnect;
use ambit_net::relay::ResetCode;
use ambit_runtime::causes::causes;
use std::time::Duration;

fn dial(kind: io::ErrorKind) -> DialError {
    DialError::Connect {
        to: "10.0.0.1:80".parse().unwrap(),
        source: kind.into(),
    }
}

fn denied() -> Failure {
    Failure::Refused(Refusal::Policy(l4::Denial {
        policy: Some(PolicyKey::new("shop", "deny-all")),
        rule: Some(0),
        why: l4::Why::ExplicitDeny,
    }))
}

/// Failure, flag, status, reason, part of the text.
type Case = (Failure, &'static str, u16, &'static str, &'static str);

/// Flags: ztunnel's; statuses: what its peers expect; texts: what users search for.
fn check(cases: Vec<Case>) {
    for (failure, flags, status, reason, text) in cases {
        let verdict = failure.verdict();
        let got = (verdict.flags, verdict.status.as_u16(), verdict.reason);
        assert_eq!(got, (flags, status, reason), "{failure:?}");
        assert!(causes(&failure).contains(text), "{}", causes(&failure));
    }
}

const BLOCKED: &str = "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008";

#[test]
fn failures_of_peers() {
    let request = BadConnect::Method(http::Method::GET);
    let headers = StreamRefused::Headers {
        bytes: 70_000,
        limit: 65_536,
    };
    let after = Duration::from_secs(20);
    check(vec![
        (
            Failure::PeerStream(StreamRefused::Request(request)),
            "CONNECT",
            400,
            "bad-request",
            "stream refused: not a usable CONNECT: method GET is not CONNECT",
        ),
        (
            Failure::PeerStream(headers),
            "CONNECT",
            431,
            "headers",
            "70000 bytes of headers, at most 65536 are read",
        ),
        (
            Failure::PeerStream(StreamRefused::Full { limit: 200 }),
            "CONNECT",
            503,
            "stream-limit",
            "the tunnel carries 200 streams",
        ),
        (
            Failure::PeerTunnel(TunnelError::Ping { after }),
            "CONNECT",
            503,
            "ping",
            "PING not answered within 20s",
        ),
    ]);
}

#[test]
fn failures_towards_peers() {
    let after = Duration::from_secs(10);
    let failed = |stage| OpenError::Dial(Arc::new(TunnelDialError::Timeout { stage, after }));
    let late = TunnelDialError::Connect(Box::new(DialError::Timeout {
        to: "10.0.0.1:15008".parse().unwrap(),
        after,
    }));
    let late = OpenError::Dial(Arc::new(late));
    let refused = |status| {
        OpenError::Connect(ConnectError::Refused {
            status,
            reason: None,
        })
    };
    let denied = refused(StatusCode::UNAUTHORIZED);
    let busy = refused(StatusCode::SERVICE_UNAVAILABLE);
    check(vec![
        (
            failed(Stage::Connect).into(),
            "NETWORK_POLICY",
            503,
            "timeout",
            BLOCKED,
        ),
        (late.into(), "NETWORK_POLICY", 503, "timeout", BLOCKED),
        (
            failed(Stage::Tls).into(),
            "TLS_FAILURE",
            503,
            "tls",
            "TLS handshake not done",
        ),
        (
            failed(Stage::H2).into(),
            "H2_HANDSHAKE_FAILURE",
            503,
            "h2",
            "HTTP/2 handshake not",
        ),
        (
            denied.into(),
            "DENY",
            401,
            "deny",
            "http status: 401 Unauthorized",
        ),
        (
            busy.into(),
            "CONNECT",
            503,
            "peer-refused",
            "http status: 503",
        ),
    ]);
}

#[test]
fn failures_on_this_side() {
    let reserved = Failure::Routing(Denial::ReservedPort { port: 15008 });
    let again = "attempted recursive call to ourselves";
    let app = Failure::App(dial(io::ErrorKind::ConnectionRefused));
    let closed = "application not reachable: cannot connect to 10.0.0.1:80: connection refused";
    let unsynced = NotReady::NotSynced.into();
    let policy = "connection closed due to policy change";
    let drain = "connection closed due to connection drain";
    let broken = Failure::Broken {
        by: Side::Server,
        source: StreamError::Reset(ResetCode::CANCEL),
    };
    check(vec![
        (
            denied(),
            "DENY",
            401,
            "deny",
            "explicitly denied by: shop/deny-all",
        ),
        (
            unsynced,
            "CONNECT",
            503,
            "not-ready",
            "configuration has not arrived",
        ),
        (Failure::OwnSocket, "DENY", 503, "loop", again),
        (reserved, "DENY", 503, "reserved-port", again),
        (app, "CONNECT", 503, "connect", closed),
        (
            Failure::Cut(Cut::PolicyChange),
            "DENY",
            401,
            "policy-change",
            policy,
        ),
        (Failure::Cut(Cut::Drain), "CONNECT", 503, "drain", drain),
        (broken, "CONNECT", 503, "broken", "server side broke"),
    ]);
}

#[test]
fn a_denial_names_policy_and_rule() {
    let denied = denied();
    let (policy, rule) = denied.policy().unwrap();
    assert_eq!(
        (policy.to_string().as_str(), rule),
        ("shop/deny-all", Some(0))
    );
    assert!(Failure::OwnSocket.policy().is_none());
}
