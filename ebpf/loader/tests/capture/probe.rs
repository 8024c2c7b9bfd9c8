//! `probe`: the node reaches its pods directly, and nobody else does.

use crate::lab::Lab;
use crate::sockets::{app_listener, dial};
use ambit_ebpf_loader::Counter;

#[test]
fn the_node_probes_the_application_and_others_do_not() {
    let Some(lab) = Lab::start() else { return };
    for (bind, address) in [
        ("0.0.0.0:8080", "10.77.1.2:8080"),
        ("[::]:8080", "[fd77:1::2]:8080"),
    ] {
        let app = lab.in_pod(|| app_listener(bind));
        for (netns, expected) in [
            (&lab.node, "app"),
            (&lab.outside, "inbound"),
            (&lab.neighbour, "inbound"),
        ] {
            let _client = lab.run(netns, || dial(address)).unwrap();
            assert_eq!(lab.got(Some(&app)).0, expected, "{address}");
        }
    }
    assert_eq!(lab.count(Counter::ProbeRecorded), 2);
    assert_eq!(lab.count(Counter::ProbePassed), 2);
}

#[test]
fn an_ipv6_socket_that_probes_an_ipv4_pod_passes() {
    let Some(lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let _client = lab
        .run(&lab.node, || dial("[::ffff:10.77.1.2]:8080"))
        .unwrap();
    assert_eq!(lab.got(Some(&app)).0, "app");
}

#[test]
fn a_pod_in_the_namespace_of_the_node_is_no_probe() {
    let Some(lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let _client = lab
        .run_as("kubepods", &lab.node, || dial("10.77.1.2:8080"))
        .unwrap();
    assert_eq!(lab.got(Some(&app)).0, "inbound");
    assert_eq!(lab.count(Counter::ProbeRecorded), 0);
}

#[test]
fn without_a_pods_cgroup_every_socket_of_the_node_is_a_probe() {
    let Some(mut lab) = Lab::start() else { return };
    let mut config = lab.config();
    config.kubepods = None;
    lab.capture = Some(ambit_ebpf_loader::Capture::open(config).unwrap());
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let _client = lab
        .run_as("kubepods", &lab.node, || dial("10.77.1.2:8080"))
        .unwrap();
    assert_eq!(lab.got(Some(&app)).0, "app");
}
