//! `reroute`: what virtual machines and containers inside a pod dial.
//!
//! ```text
//! machine 192.168.9.2, fd99:9::2 ── vm0 in the pod
//! ```

use crate::lab::{Lab, slot};
use crate::netns::Netns;
use crate::sockets::{app_listener, dial};
use ambit_ebpf_loader::{Counter, PodOptions};
use nix::net::if_::if_nametoindex;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

const REROUTE: PodOptions = PodOptions {
    plain_dns: false,
    plain_inbound: false,
    reroute: true,
};

/// A machine inside the pod, which the pod forwards for, with the rules the agent makes.
fn machine(lab: &Lab) -> Netns {
    let machine = Netns::new(format!("ambit-capture-{}-machine", std::process::id()));
    let pod = &lab.pod;
    pod.ip(&format!(
        "link add vm0 type veth peer name eth0 netns {}",
        machine.name
    ));
    for (family, net, flags) in [
        ("-4", "192.168.9.", "/24 dev"),
        ("-6", "fd99:9::", "/64 nodad dev"),
    ] {
        pod.ip(&format!("{family} addr add {net}1{flags} vm0"));
        machine.ip(&format!("{family} addr add {net}2{flags} eth0"));
    }
    pod.ip("link set vm0 up");
    machine.ip("link set eth0 up");
    for (family, gateway) in [("-4", "192.168.9.1"), ("-6", "fd99:9::1")] {
        machine.ip(&format!("{family} route add default via {gateway}"));
        pod.ip(&format!(
            "{family} rule add pref 101 fwmark 0x113/0xfff iif lo lookup main"
        ));
        pod.ip(&format!(
            "{family} rule add pref 102 fwmark 0x113/0xfff lookup 100"
        ));
    }
    for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
        pod.sysctl(&format!("net.{family}"), "1");
    }
    for (family, net, node, pod) in [
        ("-4", "192.168.9.0/24", "10.77.9.1", "10.77.1.2"),
        ("-6", "fd99:9::/64", "fd77:9::1", "fd77:1::2"),
    ] {
        lab.outside
            .ip(&format!("{family} route add {net} via {node}"));
        lab.node.ip(&format!("{family} route add {net} via {pod}"));
    }
    machine
}

/// Makes `vm0` the interface that is rerouted, or none.
fn set_rerouted(lab: &Lab, wanted: bool) {
    let set = || {
        let interface = wanted.then(|| if_nametoindex("vm0").unwrap());
        let interfaces: BTreeSet<u32> = interface.into_iter().collect();
        lab.capture().set_rerouted(slot(1), &interfaces).unwrap();
    };
    lab.pod.run(|| (), set);
}

/// Both ends say something and hear it.
fn talk(a: &mut TcpStream, b: &mut TcpStream) {
    say(a, b);
    say(b, a);
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"word").unwrap();
    let mut heard = [0; 4];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"word");
}

#[test]
fn what_a_machine_in_the_pod_dials_reaches_the_outbound_listener() {
    let Some(lab) = Lab::start() else { return };
    let machine = machine(&lab);
    lab.capture().set_options(slot(1), REROUTE).unwrap();
    set_rerouted(&lab, true);
    for (address, own) in [
        ("10.99.0.9:80", "192.168.9.2"),
        ("10.77.2.2:15008", "192.168.9.2"),
        ("[fd99::9]:80", "fd99:9::2"),
    ] {
        let mut client = lab.run(&machine, || dial(address)).unwrap();
        let (listener, destination, mut proxy) = lab.got(None);
        assert_eq!((listener, destination.as_str()), ("outbound", address));
        let peer = proxy.peer_addr().unwrap().ip().to_canonical();
        assert_eq!(peer.to_string(), own);
        talk(&mut client, &mut proxy);
    }
    assert_eq!(lab.count(Counter::Rerouted), 3);
    assert_eq!(lab.count(Counter::SteeredOutbound), 0);
    // The pod's own sockets are captured as before.
    let _client = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(lab.got(None).0, "outbound");
    assert_eq!(lab.count(Counter::Captured), 1);
}

#[test]
fn answers_of_what_was_forwarded_into_the_pod_are_forwarded_too() {
    let Some(lab) = Lab::start() else { return };
    let machine = machine(&lab);
    lab.capture().set_options(slot(1), REROUTE).unwrap();
    set_rerouted(&lab, true);
    for address in ["192.168.9.2:8080", "[fd99:9::2]:8080"] {
        let server = lab.run(&machine, || app_listener(address));
        let mut client = lab.run(&lab.outside, || dial(address)).unwrap();
        let mut served = server.accept().unwrap().0;
        talk(&mut client, &mut served);
    }
    assert_eq!(lab.count(Counter::Rerouted), 0);
}

#[test]
fn a_pod_that_leaves_keeps_the_connections_it_has_and_forwards_new_ones() {
    let Some(lab) = Lab::start() else { return };
    let machine = machine(&lab);
    lab.capture().set_options(slot(1), REROUTE).unwrap();
    set_rerouted(&lab, true);
    let mut client = lab.run(&machine, || dial("10.99.0.9:80")).unwrap();
    let (_, _, mut proxy) = lab.got(None);
    lab.capture()
        .set_options(slot(1), PodOptions::default())
        .unwrap();
    talk(&mut client, &mut proxy);
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:81"));
    let mut direct = lab.run(&machine, || dial("10.99.0.9:81")).unwrap();
    talk(&mut direct, &mut server.accept().unwrap().0);
    set_rerouted(&lab, false);
    let _direct = lab.run(&machine, || dial("10.99.0.9:81")).unwrap();
}

#[test]
fn programs_go_with_their_interface_their_pod_and_the_mesh() {
    let Some(mut lab) = Lab::start() else { return };
    let pins = lab.pins().join("reroute");
    let pinned = || std::fs::read_dir(&pins).unwrap().count();
    let first = machine(&lab);
    set_rerouted(&lab, true);
    set_rerouted(&lab, true);
    assert_eq!(pinned(), 1);
    drop(first);
    let old = lab.run(&lab.pod, || if_nametoindex("vm0").is_ok());
    if old {
        lab.pod.ip("link del vm0");
    }
    set_rerouted(&lab, false);
    assert_eq!(pinned(), 0);

    lab.pod.ip("link add vm0 type veth peer name vm1");
    set_rerouted(&lab, true);
    lab.capture().detach_steer(slot(1)).unwrap();
    assert_eq!(pinned(), 1, "connections may live");
    lab.capture().clear_rerouted(slot(1)).unwrap();
    assert_eq!(pinned(), 0);

    set_rerouted(&lab, true);
    assert_eq!(pinned(), 1);
    let capture = lab.capture.take().unwrap();
    capture.remove_all().unwrap();
    assert!(!pins.exists());
}
