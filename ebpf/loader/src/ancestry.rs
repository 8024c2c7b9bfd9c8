//! How deep a mount of a part of the cgroup2 hierarchy lies in the whole.
//!
//! In: the id of a cgroup above this process. Out: its level, as the capture programs count.
//! Owns nothing. A cgroup namespace hides what is above its root from every file, yet programs compare
//! levels counted from the real root; so a program is asked, run once in this process.
//! Spec: bpf-helpers(7), `bpf_get_current_ancestor_cgroup_id`; the kernel's `Documentation/bpf/instruction-set`.

use std::io;

use crate::sys;

/// The level of the cgroup `id` if this process is in it or below.
///
/// # Errors
/// The program cannot be loaded or run.
pub(crate) fn level_above_us(id: u64) -> io::Result<Option<u32>> {
    let program = sys::load_raw_tracepoint(&PROGRAM)?;
    for level in 0..DEEPEST {
        if sys::run_raw_tracepoint(&program, [u64::from(level), id])? == 1 {
            return Ok(Some(level));
        }
    }
    Ok(None)
}

/// Far below the depth at which kernels still make cgroups for pods.
const DEEPEST: u32 = 64;

/// `ctx: [level, id]` → whether the ancestor at that level has that id.
const PROGRAM: [u64; 9] = [
    instruction(MOV_REG, 6, 1, 0, 0),
    instruction(LOAD_U64, 1, 6, 0, 0),
    instruction(CALL, 0, 0, 0, GET_CURRENT_ANCESTOR_CGROUP_ID),
    instruction(MOV_REG, 2, 0, 0, 0),
    instruction(LOAD_U64, 1, 6, 8, 0),
    instruction(MOV_IMM, 0, 0, 0, 0),
    instruction(JUMP_NOT_EQUAL, 2, 1, 1, 0),
    instruction(MOV_IMM, 0, 0, 0, 1),
    instruction(EXIT, 0, 0, 0, 0),
];

const MOV_REG: u8 = 0xbf;
const MOV_IMM: u8 = 0xb7;
const LOAD_U64: u8 = 0x79;
const JUMP_NOT_EQUAL: u8 = 0x5d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const GET_CURRENT_ANCESTOR_CGROUP_ID: u32 = 123;

/// One `struct bpf_insn`, whose register nibbles are bit-fields and follow the byte order.
const fn instruction(code: u8, to: u8, from: u8, offset: u8, value: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") {
        from << 4 | to
    } else {
        to << 4 | from
    };
    let [a, b, c, d] = value.to_ne_bytes();
    let [e, f] = (offset as u16).to_ne_bytes();
    u64::from_ne_bytes([code, registers, e, f, a, b, c, d])
}
