//! What outlives the process that loaded it, and what is left when it is told to go.

use crate::lab::{Lab, possible, slot};
use crate::sockets::{app_listener, dial};
use ambit_ebpf_loader::{Capture, Counter, EnrollError, OpenError};
use aya::programs::links::{FdLink, PinnedLink};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

/// Link and program of every pinned link.
fn links(pins: &Path) -> BTreeMap<String, (u32, u32)> {
    let mut links = BTreeMap::new();
    for directory in ["links", "steer"] {
        for entry in std::fs::read_dir(pins.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let link: FdLink = PinnedLink::from_pin(&path).unwrap().into();
            let info = link.info().unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            links.insert(name, (info.id(), info.program_id()));
        }
    }
    links
}

#[test]
fn a_restart_keeps_every_link_and_puts_new_programs_behind_them() {
    let Some(mut lab) = Lab::start() else { return };
    let before = links(&lab.pins());
    assert_eq!(before.len(), 10);
    lab.capture = None;
    let _unattended = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(lab.got(None).0, "outbound");

    let start = Instant::now();
    lab.capture = Some(Capture::open(lab.config()).unwrap());
    eprintln!("adopting took {:?}", start.elapsed());
    let after = links(&lab.pins());
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (name, (link, program)) in &before {
        assert_eq!(after[name].0, *link, "{name} is another link");
        assert_ne!(after[name].1, *program, "{name} still runs the old program");
    }
    let _client = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(lab.got(None).0, "outbound");
    assert_eq!(lab.count(Counter::Captured), 2, "counters go on");
}

#[test]
fn what_is_enrolled_can_be_listed_after_a_restart() {
    let Some(mut lab) = Lab::start() else { return };
    lab.capture = None;
    lab.capture = Some(Capture::open(lab.config()).unwrap());
    let capture = lab.capture();
    assert_eq!(capture.enrolled().unwrap(), [(lab.pod.cookie(), slot(1))]);
    let ips = capture.pod_ips().unwrap();
    let ips: Vec<_> = ips
        .iter()
        .map(|(ip, slot)| (ip.to_string(), slot.number()))
        .collect();
    assert_eq!(
        ips,
        [
            ("10.77.1.2", 1),
            ("10.77.2.2", 2),
            ("fd77:1::2", 1),
            ("fd77:2::2", 2)
        ]
        .map(|(ip, slot)| (ip.to_owned(), slot))
    );
    capture.remove_pod_ip("fd77:2::2".parse().unwrap()).unwrap();
    capture.remove_pod_ip("fd77:2::2".parse().unwrap()).unwrap();
    assert_eq!(capture.pod_ips().unwrap().len(), 3);
    assert_eq!(capture.steered().unwrap(), [slot(1)]);
}

#[test]
fn a_captured_connection_outlives_the_pod_leaving() {
    let Some(lab) = Lab::start() else { return };
    let mut app = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    let (_, _, mut proxy) = lab.got(None);
    let mut remote = lab.run(&lab.outside, || dial("10.77.1.2:8080")).unwrap();
    let (_, _, mut inbound) = lab.got(None);
    lab.capture().unenroll(lab.pod.cookie()).unwrap();
    lab.capture().detach_steer(slot(1)).unwrap();
    for (from, to) in [(&mut app, &mut proxy), (&mut remote, &mut inbound)] {
        let mut buffer = [0; 8];
        from.write_all(b"question").unwrap();
        to.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"question");
        to.write_all(b"response").unwrap();
        from.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"response");
    }
}

#[test]
fn the_namespace_of_the_node_is_never_enrolled() {
    let Some(lab) = Lab::start() else { return };
    let cookie = lab.node.cookie();
    let refused = lab.capture().enroll(cookie, slot(3)).unwrap_err();
    assert!(matches!(refused, EnrollError::Node { cookie: found } if found == cookie));
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    let client = lab.run(&lab.node, || dial("10.99.0.9:80")).unwrap();
    assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn steer_moves_to_the_namespace_it_is_told_and_forgets_one_that_is_gone() {
    let Some(lab) = Lab::start() else { return };
    let capture = lab.capture();
    let inode = |fd| nix::sys::stat::fstat(fd).unwrap().st_ino;
    let target = || capture.steer_netns(slot(1)).unwrap().map(u64::from);
    assert_eq!(target(), Some(inode(lab.pod.fd())));
    let link = links(&lab.pins())["1"].0;
    capture.attach_steer(slot(1), lab.pod.fd()).unwrap();
    assert_eq!(links(&lab.pins())["1"].0, link, "updated in place");

    let short = crate::netns::Netns::new(format!("ambit-capture-{}-short", std::process::id()));
    capture.attach_steer(slot(1), short.fd()).unwrap();
    assert_eq!(target(), Some(inode(short.fd())));
    capture.attach_steer(slot(2), lab.pod.fd()).unwrap();
    assert_eq!(capture.steered().unwrap(), [slot(1), slot(2)]);
    drop(short);
    // The kernel takes a namespace down in the background.
    let deadline = Instant::now() + crate::sockets::DEADLINE;
    while capture.steered().unwrap() != [slot(2)] {
        assert!(Instant::now() < deadline, "the link outlives its namespace");
        std::thread::yield_now();
    }
    assert!(!lab.pins().join("steer/1").exists());
    assert_eq!(target(), None);
}

#[test]
fn another_cgroup_root_moves_the_hooks() {
    let Some(mut lab) = Lab::start() else { return };
    lab.capture = None;
    let mut config = lab.config();
    config.cgroup_root = lab.cgroups.root.join("kubepods");
    lab.capture = Some(Capture::open(config).unwrap());
    let _server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    let outside_the_root = lab.in_pod(|| dial("10.99.0.9:80"));
    assert!(outside_the_root.is_ok());
    assert_eq!(lab.count(Counter::Captured), 0);
    let _client = lab
        .run_as("kubepods", &lab.pod, || dial("10.99.0.9:80"))
        .unwrap();
    assert_eq!(lab.got(None).0, "outbound");
}

#[test]
fn removal_leaves_nothing_behind() {
    let Some(mut lab) = Lab::start() else { return };
    let app = lab.in_pod(|| app_listener("0.0.0.0:8080"));
    let server = lab.run(&lab.outside, || app_listener("10.99.0.9:80"));
    lab.capture.take().unwrap().remove_all().unwrap();
    assert!(!lab.pins().parent().unwrap().exists());
    let client = lab.in_pod(|| dial("10.99.0.9:80")).unwrap();
    assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
    let _client = lab.run(&lab.outside, || dial("10.77.1.2:8080")).unwrap();
    assert_eq!(lab.got(Some(&app)).0, "app");
}

#[test]
fn what_another_version_left_can_be_retired() {
    let Some(lab) = Lab::start() else { return };
    let root = lab.pins().parent().unwrap().to_owned();
    let (old, foreign) = (root.join("v0"), root.join("foreign"));
    std::fs::create_dir_all(old.join("links")).unwrap();
    std::fs::create_dir_all(&foreign).unwrap();
    let link: FdLink = PinnedLink::from_pin(lab.pins().join("links/ambit_probe"))
        .unwrap()
        .into();
    drop(link.pin(old.join("links/ambit_probe")).unwrap());
    assert_eq!(
        lab.capture().retire_other_versions().unwrap(),
        [old.as_path()]
    );
    assert!(!old.exists());
    assert!(foreign.exists() && lab.pins().exists());
}

#[test]
fn loading_says_what_is_missing() {
    if !possible() {
        return;
    }
    let Some(lab) = Lab::start() else { return };
    let mut config = lab.config();
    config.pin_root = std::env::temp_dir().join("ambit-not-a-bpffs");
    assert!(matches!(
        Capture::open(config).unwrap_err(),
        OpenError::NotBpffs { .. }
    ));
    let mut config = lab.config();
    config.cgroup_root = std::env::temp_dir();
    assert!(matches!(
        Capture::open(config).unwrap_err(),
        OpenError::Cgroup(_)
    ));
    let mut config = lab.config();
    config.pin_root = lab.bpffs.path().join("second");
    let start = Instant::now();
    let second = Capture::open(config).unwrap();
    eprintln!("loading took {:?}", start.elapsed());
    let start = Instant::now();
    second.attach_steer(slot(9), lab.neighbour.fd()).unwrap();
    eprintln!("attaching steer took {:?}", start.elapsed());
    second.remove_all().unwrap();
}
