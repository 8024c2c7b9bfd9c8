//! Buffers that outlive connections.
//! In: a direction that starts or ends. Out: a buffer for sixteen records.
//! Owns: those nobody uses now, as many as were ever in use at once.

use std::sync::{Mutex, PoisonError};

use super::record::{RECORDS, STRIDE};

/// Length of each.
pub(crate) const LENGTH: usize = RECORDS * STRIDE;

/// Unused buffers.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    /// The one used last, or a new one.
    pub(crate) fn take(&self) -> Box<[u8]> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; LENGTH].into_boxed_slice())
    }

    /// Keeps it for the next.
    pub(crate) fn give_back(&self, buffer: Box<[u8]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffer);
    }
}
