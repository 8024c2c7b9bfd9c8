//! The embedded object, and instances of its programs.
//!
//! In: bytes built into this binary. Out: loaded programs whose maps are the pinned ones. Owns the
//! aya loader. Kernel BTF is not read: the programs use no kernel structs.

use crate::pins::Pins;
use ambit_ebpf_common::{MAX_SLOTS, Slot, names};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use std::sync::Mutex;

/// What `cargo xtask ebpf` built.
pub(crate) static OBJECT: &[u8] = include_bytes_aligned!("../../programs/prebuilt/capture.bpf.o");

/// Values for the global of each steer instance; static because the loader borrows them.
static SLOTS: [u32; MAX_SLOTS as usize] = {
    let mut slots = [0; MAX_SLOTS as usize];
    let mut slot = 0;
    while slot < MAX_SLOTS {
        slots[slot as usize] = slot;
        slot += 1;
    }
    slots
};

/// Makes instances of the object.
pub(crate) struct ObjectLoader(Mutex<EbpfLoader<'static>>);

impl ObjectLoader {
    /// For maps pinned at `pins`.
    pub(crate) fn new(pins: &Pins) -> Self {
        let mut loader = EbpfLoader::new();
        loader.btf(None).default_map_pin_directory(pins.maps());
        Self(Mutex::new(loader))
    }

    /// An instance whose steer program serves `slot`; any slot will do for the other programs.
    pub(crate) fn instance(&self, slot: Slot) -> Result<Ebpf, EbpfError> {
        let value = &SLOTS[slot.number() as usize];
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
            .override_global(names::global::SLOT, value, true)
            .load(OBJECT)
    }
}
