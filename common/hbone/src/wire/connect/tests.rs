//! Tables and properties of authorities, requests and replies.

use super::*;
use proptest::prelude::*;

#[test]
fn authorities_parse_in_their_three_forms() {
    for (text, written) in [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fd00::1]:8080", "[fd00::1]:8080"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
        (
            "Web.Default.svc.cluster.local:65535",
            "web.default.svc.cluster.local:65535",
        ),
        ("web.default.svc.:1", "web.default.svc:1"),
        ("_tcp.web:80", "_tcp.web:80"),
    ] {
        let parsed: Authority = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(parsed.to_string(), written);
    }
}

#[test]
fn what_is_not_an_authority_is_refused() {
    let long = format!("{}:80", "a".repeat(64));
    let longer = format!("{}a:80", "a.".repeat(127));
    for text in [
        "",
        ":",
        ":80",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "a:+80",
        "a:080000",
        "a: 80",
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.256:80",
        "10.0.0:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[10.0.0.1]:80",
        "[fe80::1%eth0]:80",
        "user@web:80",
        "web/x:80",
        "a..b:80",
        ".a:80",
        "web :80",
        "wéb:80",
        "a,b:80",
        &long,
        &longer,
    ] {
        assert!(text.parse::<Authority>().is_err(), "{text}");
    }
}

#[test]
fn a_request_survives_the_wire() {
    let request = ConnectRequest {
        baggage: Some(HeaderValue::from_static("k8s.namespace.name=default")),
        forwarded: Forwarded::parse("for=\"10.0.0.1:4000\";host=web.default.svc"),
        traceparent: Traceparent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
        network: Some(HeaderValue::from_static("net-2")),
        source: Some(HeaderValue::from_static("waypoint")),
        ..ConnectRequest::new("[fd00::1]:80".parse().unwrap())
    };
    assert!(request.forwarded.is_some() && request.traceparent.is_some());
    assert_eq!(ConnectRequest::read(&request.write()), Ok(request));
}

#[test]
fn only_connect_with_a_usable_authority_is_served() {
    let request = |method: Method, uri: &str| {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        ConnectRequest::read(&request)
    };
    assert!(request(Method::CONNECT, "10.0.0.1:80").is_ok());
    assert_eq!(
        request(Method::GET, "http://10.0.0.1:80/"),
        Err(BadConnect::Method(Method::GET))
    );
    assert_eq!(request(Method::CONNECT, "/x"), Err(BadConnect::NoAuthority));
    assert!(matches!(
        request(Method::CONNECT, "10.0.0.1"),
        Err(BadConnect::Authority(_))
    ));
}

#[test]
fn a_reply_survives_the_wire() {
    for reply in [
        ConnectReply::Accepted { baggage: None },
        ConnectReply::Accepted {
            baggage: Some(HeaderValue::from_static("service.name=web")),
        },
        ConnectReply::Refused {
            status: StatusCode::UNAUTHORIZED,
            reason: Some("deny".to_owned()),
        },
        ConnectReply::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: None,
        },
    ] {
        assert_eq!(ConnectReply::read(&reply.write()), reply);
    }
    let bad = ConnectReply::Refused {
        status: StatusCode::BAD_REQUEST,
        reason: Some("a\nb".to_owned()),
    };
    assert!(bad.write().headers().is_empty());
    let no_content = Response::builder().status(204).body(()).unwrap();
    assert!(matches!(
        ConnectReply::read(&no_content),
        ConnectReply::Refused { .. }
    ));
}

proptest! {
    #[test]
    fn any_address_round_trips(ip in any::<std::net::IpAddr>(), port in 1..=u16::MAX) {
        let authority = Authority::from(SocketAddr::new(ip, port));
        prop_assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority.clone()));
        let request = ConnectRequest::new(authority);
        prop_assert_eq!(ConnectRequest::read(&request.write()), Ok(request));
    }

    #[test]
    fn whatever_parses_can_be_written_and_read_again(text in "\\PC{0,40}(:[0-9]{1,5})?") {
        if let Ok(authority) = text.parse::<Authority>() {
            let request = ConnectRequest::new(authority);
            prop_assert_eq!(ConnectRequest::read(&request.write()), Ok(request));
        }
    }
}
