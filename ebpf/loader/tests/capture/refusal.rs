//! `connect4` and `connect6` when the kernel does not let them prepare the application's socket: the
//! connection is refused and counted, and nothing of it is sent.

use crate::lab::Lab;
use crate::sockets::{app_listener, dial, dial_with};
use ambit_ebpf_common::names;
use ambit_ebpf_loader::{Capture, Counter};
use aya::programs::CgroupSockAddr;
use aya::{EbpfLoader, include_bytes_aligned};
use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What `ambit-ebpf-loader` embeds.
static OBJECT: &[u8] = include_bytes_aligned!("../../../programs/prebuilt/capture.bpf.o");
/// An option of SOL_SOCKET that no kernel has.
static NO_OPTION: i32 = 0x7fff;
const SERVICES: [&str; 3] = ["10.99.0.9:80", "[fd99::9]:80", "[::ffff:10.99.0.9]:80"];

#[test]
fn without_a_mark_a_connection_is_refused_and_counted_and_nothing_is_sent() {
    let Some(mut lab) = Lab::start() else { return };
    let servers = servers(&lab);
    let before = lab.in_pod(segments_sent);
    take_the_mark_away(&lab);
    for address in SERVICES {
        let refused = lab.in_pod(|| dial(address)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}");
    }
    assert_eq!(lab.count(Counter::SetsockoptFailed), 3);
    assert_eq!(lab.count(Counter::Captured), 0);
    assert_eq!(lab.in_pod(segments_sent), before, "segments left the pod");
    nobody_came(&servers);

    // The other half of the pair: the same connections are captured by the programs as they are.
    lab.capture = Some(Capture::open(lab.config()).unwrap());
    for address in SERVICES {
        let _client = lab.in_pod(|| dial(address)).unwrap();
        assert_eq!(lab.got(None).0, "outbound", "{address}");
    }
    assert_eq!(lab.count(Counter::SetsockoptFailed), 3);
    assert_eq!(lab.count(Counter::Captured), 3);
}

/// Anybody may bind a socket to a device once; to unbind it, which capture needs, the kernel asks the
/// application's own privileges.
#[test]
fn an_unprivileged_socket_bound_to_a_device_is_refused_rather_than_sent_past_the_proxy() {
    let Some(lab) = Lab::start() else { return };
    let servers = servers(&lab);
    let before = lab.in_pod(segments_sent);
    for address in SERVICES {
        let refused = lab.in_pod(|| {
            drop_net_raw();
            dial_with(address, |socket| {
                socket.bind_device(Some(b"eth0")).unwrap();
            })
        });
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}");
    }
    assert_eq!(lab.count(Counter::SetsockoptFailed), 3);
    assert_eq!(lab.count(Counter::DeviceCleared), 0);
    assert_eq!(lab.in_pod(segments_sent), before, "segments left the pod");
    nobody_came(&servers);
}

fn servers(lab: &Lab) -> Vec<TcpListener> {
    ["10.99.0.9:80", "[fd99::9]:80"]
        .map(|address| lab.run(&lab.outside, || app_listener(address)))
        .into()
}

fn nobody_came(servers: &[TcpListener]) {
    for server in servers {
        server.set_nonblocking(true).unwrap();
        assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// Puts programs behind the links that differ from the product's in one global: the option by which
/// they mark a socket, which is now one the kernel refuses.
fn take_the_mark_away(lab: &Lab) {
    let mut object = EbpfLoader::new()
        .btf(None)
        .default_map_pin_directory(lab.pins().join("maps"))
        .override_global(names::global::MARK_OPTION, &NO_OPTION, true)
        .load(OBJECT)
        .unwrap();
    for name in [names::program::CONNECT4, names::program::CONNECT6] {
        let program: &mut CgroupSockAddr = object.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        let link = open_pinned(&lab.pins().join("links").join(name));
        update_link(link.as_fd(), program.fd().unwrap().as_fd());
    }
}

/// `BPF_OBJ_GET` (bpf(2)).
fn open_pinned(path: &Path) -> OwnedFd {
    const BPF_OBJ_GET: libc::c_long = 7;
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let attr = [path.as_ptr() as u64, 0];
    // SAFETY: the attributes are two words, as the length says: a string that lives on, and zeros.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    };
    let fd = i32::try_from(fd).unwrap();
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `BPF_LINK_UPDATE` (bpf(2)).
fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) {
    const BPF_LINK_UPDATE: libc::c_long = 29;
    let attr = [link.as_raw_fd(), program.as_raw_fd(), 0, 0];
    // SAFETY: the attributes are four words, as the length says: link, program, flags, old program.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_UPDATE,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// TCP segments sent in the caller's network namespace, RFC 4022 `tcpOutSegs`.
fn segments_sent() -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = table.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "OutSegs").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// Takes CAP_NET_RAW from the calling thread for good (capset(2), version 3).
fn drop_net_raw() {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_NET_RAW: u32 = 13;
    let header = [VERSION_3, 0];
    // Effective, permitted and inheritable, the low words before the high ones.
    let mut sets = [0_u32; 6];
    // SAFETY: the header names the calling thread; version 3 fills two times three words.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    assert_eq!(got, 0, "{}", io::Error::last_os_error());
    for word in &mut sets[..3] {
        *word &= !(1 << CAP_NET_RAW);
    }
    // SAFETY: as above, read only.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}
