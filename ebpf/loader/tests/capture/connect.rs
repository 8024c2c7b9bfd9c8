//! `connect4` and `connect6`: which TCP connections of a pod are captured.

use crate::lab::{Lab, slot};
use crate::sockets::{app_listener, canonical, dial, dial_with};
use ambit_ebpf_loader::{Counter, Exclusion};
use std::io::ErrorKind;

const SERVICES: [&str; 3] = ["10.99.0.9:80", "[fd99::9]:80", "[::ffff:10.99.0.9]:80"];

#[test]
fn an_outbound_connection_reaches_the_proxy_with_its_true_addresses() {
    let Some(lab) = Lab::start() else { return };
    for address in SERVICES {
        let app = lab.in_pod(|| dial(address)).unwrap();
        let (listener, destination, proxy) = lab.got(None);
        let plain = canonical(address.parse().unwrap());
        assert_eq!((listener, &destination), ("outbound", &plain));
        assert_eq!(canonical(app.peer_addr().unwrap()), plain);
        let source = canonical(app.local_addr().unwrap());
        assert_eq!(canonical(proxy.peer_addr().unwrap()), source);
        assert!(
            source.starts_with("10.77.1.2:") || source.starts_with("[fd77:1::2]:"),
            "{source}"
        );
    }
    assert_eq!(lab.count(Counter::Captured), 3);
    assert_eq!(lab.count(Counter::SteeredOutbound), 3);
}

#[test]
fn a_pod_talks_to_itself_without_the_proxy() {
    let Some(lab) = Lab::start() else { return };
    for (bind, address) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "10.77.1.2:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("[::]:8080", "[fd77:1::2]:8080"),
    ] {
        let app = lab.in_pod(|| app_listener(bind));
        let _client = lab.in_pod(|| dial(address)).unwrap();
        let (listener, destination, _) = lab.got(Some(&app));
        assert_eq!((listener, destination.as_str()), ("app", address));
    }
    assert_eq!(lab.count(Counter::Loopback), 2);
    assert_eq!(lab.count(Counter::SteeredOutbound), 0);
}

#[test]
fn a_call_to_the_neighbour_is_captured_even_if_the_caller_listens_on_that_port() {
    let Some(lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let _client = lab.in_pod(|| dial("10.77.2.2:8080")).unwrap();
    let (listener, destination, _) = lab.got(Some(&app));
    assert_eq!(
        (listener, destination.as_str()),
        ("outbound", "10.77.2.2:8080")
    );
}

#[test]
fn an_exempt_cgroup_and_what_is_below_it_is_not_captured() {
    let Some(lab) = Lab::start() else { return };
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    for cgroup in ["proxy", "proxy/container"] {
        let client = lab
            .run_as(cgroup, &lab.pod, || dial("10.99.0.9:80"))
            .unwrap();
        let (stream, peer) = server.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        drop(stream);
    }
    assert_eq!(lab.count(Counter::Exempt), 2);

    lab.capture().set_exempt(&[]).unwrap();
    let _client = lab
        .run_as("proxy", &lab.pod, || dial("10.99.0.9:80"))
        .unwrap();
    assert_eq!(lab.got(None).0, "outbound");
}

#[test]
fn a_mark_set_by_the_application_does_not_avoid_capture() {
    let Some(lab) = Lab::start() else { return };
    for mark in [0x111, 0x112, 0x539] {
        for address in SERVICES {
            let _client = lab
                .in_pod(|| dial_with(address, |socket| socket.set_mark(mark).unwrap()))
                .unwrap();
            assert_eq!(lab.got(None).0, "outbound", "{mark:#x} {address}");
        }
    }
    assert_eq!(lab.count(Counter::MarkReplaced), 9);
}

#[test]
fn an_application_that_looks_like_the_proxy_is_captured() {
    let Some(lab) = Lab::start() else { return };
    let _client = lab
        .in_pod(|| {
            dial_with("10.99.0.9:80", |socket| {
                socket.set_mark(0x112).unwrap();
                socket.bind_device(Some(b"lo")).unwrap();
            })
        })
        .unwrap();
    let (listener, destination, _) = lab.got(None);
    assert_eq!(
        (listener, destination.as_str()),
        ("outbound", "10.99.0.9:80")
    );
}

#[test]
fn a_socket_bound_to_a_device_is_unbound_and_captured() {
    let Some(lab) = Lab::start() else { return };
    for address in SERVICES {
        let _client = lab
            .in_pod(|| {
                dial_with(address, |socket| {
                    socket.bind_device(Some(b"eth0")).unwrap();
                })
            })
            .unwrap();
        assert_eq!(lab.got(None).0, "outbound", "{address}");
    }
    assert_eq!(lab.count(Counter::DeviceCleared), 3);
    assert_eq!(lab.count(Counter::SetsockoptFailed), 0);
}

#[test]
fn an_excluded_destination_is_reached_directly() {
    let Some(lab) = Lab::start() else { return };
    let capture = lab.capture();
    let exclusion = Exclusion {
        network: "10.99.0.0/16".parse().unwrap(),
        ports: vec![80, 443],
    };
    capture
        .set_excluded(slot(1), std::slice::from_ref(&exclusion))
        .unwrap();
    capture.set_excluded(slot(2), &[]).unwrap();
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    let client = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
    assert_eq!(lab.count(Counter::Excluded), 1);

    let _other_port = lab.in_pod(|| dial("10.99.0.9:81")).unwrap();
    assert_eq!(lab.got(None).0, "outbound");

    capture.set_excluded(slot(1), &[]).unwrap();
    let _no_longer = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(lab.got(None).0, "outbound");
}

#[test]
fn a_pod_that_leaves_connects_as_before() {
    let Some(lab) = Lab::start() else { return };
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    lab.capture().unenroll(lab.pod.cookie()).unwrap();
    lab.capture().unenroll(lab.pod.cookie()).unwrap();
    let client = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn a_namespace_that_is_not_enrolled_is_left_alone() {
    let Some(lab) = Lab::start() else { return };
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    let client = lab.run(&lab.neighbour, || dial("10.99.0.9:80")).unwrap();
    assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
    let refused = lab.run(&lab.neighbour, || dial("10.99.0.9:81"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let counters = lab.capture().counters().unwrap();
    assert!(
        counters.iter().all(|(_, value)| *value == 0),
        "{counters:?}"
    );
}
