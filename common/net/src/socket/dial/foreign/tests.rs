use super::*;

use std::net::{IpAddr, Ipv4Addr};

use crate::netns::Netns;
use crate::socket::ListenSpec;
use crate::socket::tests::{app_ns, to_app};

const CLIENT: &str = "192.0.2.77";

fn spec(ns: &Netns, port: u16) -> DialSpec<'_> {
    to_app(ns, port, CLIENT.parse::<IpAddr>().unwrap())
}

#[test]
fn ports_are_odd_and_of_the_upper_half() {
    for _ in 0..1000 {
        let port = port();
        assert!(port % 2 == 1 && port > 32768, "{port}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_left_for_another_and_shared_between_destinations() {
    let Some(ns) = app_ns().await else {
        return;
    };
    let listen = |port| {
        let spec = ListenSpec::new((Ipv4Addr::UNSPECIFIED, port).into());
        tokio::net::TcpListener::from_std(spec.tcp(Some(&ns)).unwrap()).unwrap()
    };
    let (apps, _taken) = ([listen(8080), listen(8081)], listen(40_003));
    let mut dialled = Vec::new();
    let mut ports = [40_001, 40_001, 40_003, 40_005].into_iter();
    for (port, app) in [(8080, &apps[0]), (8080, &apps[0])] {
        let spec = spec(&ns, port);
        dialled.push(dial(&spec, || ports.next().unwrap()).await.unwrap());
        app.accept().await.unwrap();
    }
    let other = spec(&ns, 8081);
    dialled.push(dial(&other, || 40_001).await.unwrap());
    let used: Vec<u16> = dialled
        .iter()
        .map(|stream| stream.local_addr().unwrap().port())
        .collect();
    assert_eq!(used, [40_001, 40_005, 40_001]);
    // All that are tried are in use: the kernel's choice.
    let last = dial(&spec(&ns, 8080), || 40_001).await.unwrap();
    assert!(last.local_addr().unwrap().port() != 40_001);
}

#[tokio::test]
async fn silence_is_answered_by_another_port() {
    let Some(ns) = app_ns().await else {
        return;
    };
    // A full queue drops the SYN, as a connection does that has the tuple already.
    let mut listen = ListenSpec::new((Ipv4Addr::UNSPECIFIED, 8080).into());
    listen.backlog = 0;
    let app = listen.tcp(Some(&ns)).unwrap();
    app.set_nonblocking(true).unwrap();
    let _first = dial(&spec(&ns, 8080), || 40_001).await.unwrap();
    let mut ports = [40_003, 40_005].into_iter();
    let next = || {
        let port = ports.next().unwrap();
        if port == 40_005 {
            app.accept().unwrap();
        }
        port
    };
    let second = dial(&spec(&ns, 8080), next).await.unwrap();
    assert_eq!(second.local_addr().unwrap().port(), 40_005);
}

#[tokio::test]
async fn an_application_that_never_answers_is_given_up_at_the_deadline() {
    let Some(ns) = app_ns().await else {
        return;
    };
    let mut listen = ListenSpec::new((Ipv4Addr::UNSPECIFIED, 8080).into());
    listen.backlog = 0;
    let _app = listen.tcp(Some(&ns)).unwrap();
    let _first = dial(&spec(&ns, 8080), || 40_001).await.unwrap();
    let mut spec = spec(&ns, 8080);
    spec.timeout = Duration::from_millis(1200);
    let failed = dial(&spec, port).await.unwrap_err();
    let DialError::Timeout { after, .. } = failed else {
        panic!("{failed}");
    };
    assert_eq!(after, spec.timeout);
}
