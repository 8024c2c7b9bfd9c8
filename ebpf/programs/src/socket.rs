//! What a hook does to the application's socket.
//!
//! In: the context of a connect hook. Out: the socket is prepared, or the caller refuses. Owns
//! nothing.

use ambit_ebpf_common::Mark;
use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_set_retval, bpf_setsockopt};

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const ECONNREFUSED: i32 = 111;

/// SO_MARK. A global, so that a test can put an option here that the kernel does not have.
#[unsafe(no_mangle)]
static MARK_OPTION: Global<i32> = Global::new(36);

/// Result of a connect hook: let the call go on.
pub(crate) const ALLOW: i32 = 1;
const DENY: i32 = 0;

/// Routes the socket back into the pod. False if the kernel refused.
#[inline(always)]
pub(crate) fn set_mark(context: *mut bpf_sock_addr) -> bool {
    let mut mark = Mark::CAPTURED.0;
    // SAFETY: the value is four readable bytes on the stack, as the length says.
    let result = unsafe {
        bpf_setsockopt(
            context.cast(),
            SOL_SOCKET,
            MARK_OPTION.load(),
            (&raw mut mark).cast(),
            size_of::<u32>() as i32,
        )
    };
    result == 0
}

/// Unbinds the socket from its device; bound to one, its packets would not loop.
#[inline(always)]
pub(crate) fn clear_device(context: *mut bpf_sock_addr) -> bool {
    let mut name = [0_u8; 4];
    // SAFETY: an empty name in four readable bytes on the stack, as the length says.
    let result = unsafe {
        bpf_setsockopt(
            context.cast(),
            SOL_SOCKET,
            SO_BINDTODEVICE,
            name.as_mut_ptr().cast(),
            size_of_val(&name) as i32,
        )
    };
    result == 0
}

/// The application's `connect` returns ECONNREFUSED.
#[inline(always)]
pub(crate) fn refuse() -> i32 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_set_retval(-ECONNREFUSED) };
    DENY
}
