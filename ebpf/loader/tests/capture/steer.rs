//! `steer`: which listener gets a connection that arrives in a pod.

use crate::lab::{Lab, slot};
use crate::sockets::{app_listener, canonical, dial, dial_with};
use ambit_ebpf_loader::{Counter, Mark, PodOptions, Role};
use socket2::SockAddr;
use std::io::ErrorKind;
use std::net::SocketAddr;

#[test]
fn a_connection_from_outside_reaches_the_inbound_listener_on_any_port() {
    let Some(lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    for address in ["10.77.1.2:8080", "10.77.1.2:9999", "[fd77:1::2]:8080"] {
        let client = lab.run(&lab.outside, || dial(address)).unwrap();
        let (listener, destination, proxy) = lab.got(Some(&app));
        assert_eq!((listener, destination.as_str()), ("inbound", address));
        assert_eq!(
            canonical(proxy.peer_addr().unwrap()),
            client.local_addr().unwrap().to_string()
        );
    }
    assert_eq!(lab.count(Counter::SteeredInbound), 3);
}

#[test]
fn the_hbone_port_belongs_to_the_hbone_listener_for_everyone() {
    let Some(lab) = Lab::start() else { return };
    for netns in [&lab.outside, &lab.node] {
        for address in ["10.77.1.2:15008", "[fd77:1::2]:15008"] {
            let _client = lab.run(netns, || dial(address)).unwrap();
            assert_eq!(lab.got(None).0, "hbone");
        }
    }
    assert_eq!(lab.count(Counter::SteeredHbone), 4);
}

#[test]
fn an_application_that_takes_the_hbone_port_does_not_get_its_connections() {
    let Some(mut lab) = Lab::start() else { return };
    let elsewhere = lab.in_pod(|| crate::sockets::proxy_listener(0));
    lab.proxy.hbone = elsewhere;
    let app = lab.in_pod(|| app_listener("0.0.0.0:15008"));
    // The proxy's old listener is closed: nobody is there, least of all the application.
    let refused = lab.run(&lab.outside, || dial("10.77.1.2:15008"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    lab.fill_slots();
    let _client = lab.run(&lab.outside, || dial("10.77.1.2:15008")).unwrap();
    assert_eq!(lab.got(Some(&app)).0, "hbone");
}

#[test]
fn an_empty_slot_refuses() {
    let Some(lab) = Lab::start() else { return };
    let _app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let _server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    for role in Role::ALL {
        lab.capture().clear_listener(slot(1), role).unwrap();
        lab.capture().clear_listener(slot(1), role).unwrap();
    }
    for (netns, address) in [
        (&lab.pod, "10.99.0.9:80"),
        (&lab.outside, "10.77.1.2:8080"),
        (&lab.outside, "10.77.1.2:15008"),
    ] {
        let refused = lab.run(netns, || dial(address));
        assert_eq!(
            refused.unwrap_err().kind(),
            ErrorKind::ConnectionRefused,
            "{address}"
        );
    }
    assert_eq!(lab.count(Counter::SlotEmpty), 3);
}

#[test]
fn the_proxy_reaches_the_application_with_the_address_of_the_client() {
    let Some(lab) = Lab::start() else { return };
    for (bind, address, client) in [
        ("0.0.0.0:8080", "10.77.1.2:8080", "203.0.113.7:0"),
        ("[::]:8080", "[fd77:1::2]:8080", "[2001:db8::7]:0"),
    ] {
        let app = lab.in_pod(|| app_listener(bind));
        let source: SocketAddr = client.parse().unwrap();
        let _proxy = lab
            .run_as("proxy", &lab.pod, || {
                dial_with(address, |socket| {
                    if source.is_ipv4() {
                        socket.set_ip_transparent_v4(true).unwrap();
                    } else {
                        socket.set_ip_transparent_v6(true).unwrap();
                    }
                    socket.set_mark(Mark::TO_APP.0).unwrap();
                    socket.bind_device(Some(b"lo")).unwrap();
                    socket.bind(&SockAddr::from(source)).unwrap();
                })
            })
            .unwrap();
        let (listener, _, stream) = lab.got(Some(&app));
        assert_eq!(listener, "app");
        assert_eq!(stream.peer_addr().unwrap().ip(), source.ip());
    }
    assert_eq!(lab.count(Counter::SteerLocal), 2);
}

#[test]
fn the_capture_listeners_cannot_be_dialled_by_name() {
    let Some(lab) = Lab::start() else { return };
    for address in [
        "127.0.0.1:15001",
        "127.0.0.1:15006",
        "10.77.1.2:15001",
        "[::1]:15006",
    ] {
        let refused = lab.in_pod(|| dial(address));
        assert_eq!(
            refused.unwrap_err().kind(),
            ErrorKind::ConnectionRefused,
            "{address}"
        );
    }
    assert_eq!(lab.count(Counter::ReservedPort), 4);
}

#[test]
fn a_pod_with_plain_inbound_still_has_hbone() {
    let Some(lab) = Lab::start() else { return };
    let options = PodOptions {
        plain_inbound: true,
        ..PodOptions::default()
    };
    lab.capture().set_options(slot(1), options).unwrap();
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    for (address, expected) in [("10.77.1.2:8080", "app"), ("10.77.1.2:15008", "hbone")] {
        let _client = lab.run(&lab.outside, || dial(address)).unwrap();
        assert_eq!(lab.got(Some(&app)).0, expected);
    }
    assert_eq!(lab.count(Counter::InboundPlain), 1);
}

#[test]
fn without_steer_a_pod_is_reached_directly() {
    let Some(lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    lab.capture().detach_steer(slot(1)).unwrap();
    lab.capture().detach_steer(slot(1)).unwrap();
    let _client = lab.run(&lab.outside, || dial("10.77.1.2:8080")).unwrap();
    assert_eq!(lab.got(Some(&app)).0, "app");
}
