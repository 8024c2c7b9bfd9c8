//! The parts of bpf(2) that aya has no call for: links that are created, updated, detached and
//! inspected by hand, and pins.
//!
//! In: descriptors and paths. Out: descriptors, or the errno. Owns nothing. The structs are
//! prefixes of `union bpf_attr`; the kernel takes what is not passed as zero.
//! Spec: `include/uapi/linux/bpf.h`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// Run before the programs that are attached to the same cgroup already.
pub(crate) const BPF_F_BEFORE: u32 = 1 << 3;

/// `enum bpf_attach_type`, the ones used here.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachType {
    SockOps = 3,
    Inet4Connect = 10,
    Inet6Connect = 11,
    Udp4Sendmsg = 14,
    Udp6Sendmsg = 15,
    Udp4Recvmsg = 19,
    Udp6Recvmsg = 20,
    Inet4Getpeername = 29,
    Inet6Getpeername = 30,
    SkLookup = 36,
    TcxIngress = 46,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A cgroup or network namespace.
    Fd(BorrowedFd<'a>),
    /// An interface of the network namespace this thread is in.
    Interface(u32),
}

const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

#[repr(C)]
struct ProgramAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// Up to and including the fields a run with a context needs.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct LinkCreateAttr {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    reserved: u32,
    expected_revision: u64,
}

#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info`; `target` is the union at offset 16: the cgroup's id, or the inode of
/// the network namespace or the index of the interface in its first four bytes.
#[repr(C)]
#[derive(Default)]
struct LinkInfoBytes {
    kind: u32,
    id: u32,
    prog_id: u32,
    reserved: u32,
    target: u64,
    rest: [u64; 16],
}

/// What a link is attached to; zero once that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkTarget(u64);

impl LinkTarget {
    /// As a cgroup id.
    pub(crate) fn cgroup_id(self) -> u64 {
        self.0
    }

    /// As the inode of a network namespace.
    pub(crate) fn netns_inode(self) -> u32 {
        self.word()
    }

    /// As the index of an interface.
    pub(crate) fn interface(self) -> u32 {
        self.word()
    }

    fn word(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// Pins a link or map.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let attr = ObjectAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: raw(object),
        file_flags: 0,
    };
    bpf(BPF_OBJ_PIN, &attr).map(drop)
}

/// Opens what is pinned.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let attr = ObjectAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    owned(bpf(BPF_OBJ_GET, &attr)?)
}

/// Attaches a program.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach_type: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    let attr = LinkCreateAttr {
        prog_fd: raw(program),
        target: match target {
            Target::Fd(fd) => raw(fd),
            Target::Interface(index) => index,
        },
        attach_type: attach_type as u32,
        flags,
        relative_fd: 0,
        reserved: 0,
        expected_revision: 0,
    };
    owned(bpf(BPF_LINK_CREATE, &attr)?)
}

/// Replaces the program of a link in place.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkUpdateAttr {
        link_fd: raw(link),
        new_prog_fd: raw(program),
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}

/// Detaches at once, whoever else holds the link. A link whose target is gone is fine too.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &LinkDetachAttr { link_fd: raw(link) }).map(drop)
}

/// What the link is attached to.
pub(crate) fn link_target(link: BorrowedFd<'_>) -> io::Result<LinkTarget> {
    let mut info = LinkInfoBytes::default();
    let attr = InfoAttr {
        bpf_fd: raw(link),
        info_len: u32::try_from(size_of::<LinkInfoBytes>()).expect("a small struct"),
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
    Ok(LinkTarget(info.target))
}

/// Loads a program that is never attached.
pub(crate) fn load_raw_tracepoint(instructions: &[u64]) -> io::Result<OwnedFd> {
    let attr = ProgramAttr {
        prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
    };
    owned(bpf(BPF_PROG_LOAD, &attr)?)
}

/// Runs it once in this process, with these arguments as its context; gives what it returns.
pub(crate) fn run_raw_tracepoint(program: &OwnedFd, arguments: [u64; 2]) -> io::Result<u32> {
    let mut attr = RunAttr {
        prog_fd: raw(program.as_fd()),
        ctx_size_in: u32::try_from(size_of_val(&arguments)).expect("16 fits"),
        ctx_in: arguments.as_ptr() as u64,
        ..RunAttr::default()
    };
    // SAFETY: `attr` is a readable and writable struct of the size passed; `arguments` outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attr,
            size_of::<RunAttr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(attr.retval)
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a readable struct of the size passed; pointers inside it outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
