//! Memory of the relays of one thread: blocks that many connections carve their reads from.
//! In: how much a read wants. Out: a [`Block`] with at least some room; dropping it gives it back.
//! A block whose bytes were handed on (to a tunnel, say) is used again once they are gone, so bulk
//! needs no allocation per read and an idle connection no memory.
//! Must not happen here: more than [`KEPT`] blocks of a class kept, a block shared by threads.

use bytes::BytesMut;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Largest read, bytes.
pub const LARGEST_READ: usize = 256 * 1024;
/// Reads up to this size share blocks, so a few bytes in flight do not pin a large one.
const SMALL_READ: usize = 16 * 1024;
const SMALL_BLOCK: usize = 64 * 1024;
/// A large read is content with this much.
const LARGE_ENOUGH: usize = 64 * 1024;
/// Blocks of each class kept per thread.
const KEPT: usize = 24;
/// Blocks looked at before a new one is made.
const PROBES: usize = 4;

thread_local! {
    static SMALL: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
    static LARGE: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Small,
    Large,
}

impl Class {
    fn block(self) -> usize {
        match self {
            Self::Small => SMALL_BLOCK,
            Self::Large => LARGEST_READ,
        }
    }

    /// The kept blocks; `None` while the thread is being torn down.
    fn with<T>(self, f: impl FnOnce(&mut VecDeque<BytesMut>) -> T) -> Option<T> {
        let key = match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        };
        key.try_with(|kept| f(&mut kept.borrow_mut())).ok()
    }
}

/// Memory for one read, on loan from the thread.
#[derive(Debug)]
pub struct Block {
    /// The bytes read so far and the room for more.
    pub bytes: BytesMut,
    class: Class,
}

impl Block {
    /// An empty block with room for a read of `want` bytes; for a large read it may be less, never
    /// less than 64 KiB.
    pub fn take(want: usize) -> Self {
        let (class, enough) = if want <= SMALL_READ {
            (Class::Small, want)
        } else {
            (Class::Large, want.min(LARGE_ENOUGH))
        };
        let bytes = class
            .with(|kept| find(kept, class.block(), enough))
            .flatten()
            .unwrap_or_else(|| BytesMut::with_capacity(class.block()));
        Self { bytes, class }
    }

    /// Bytes that can still be appended without another allocation.
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.class.with(|kept| {
            if kept.len() < KEPT {
                kept.push_front(bytes);
            }
        });
    }
}

fn find(kept: &mut VecDeque<BytesMut>, block: usize, enough: usize) -> Option<BytesMut> {
    for _ in 0..PROBES.min(kept.len()) {
        let mut candidate = kept.pop_front()?;
        if candidate.capacity() >= enough || candidate.try_reclaim(block) {
            return Some(candidate);
        }
        kept.push_back(candidate);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_reads_share_a_block_and_a_block_is_used_again_when_its_bytes_are_gone() {
        let mut first = Block::take(16);
        let start = first.bytes.as_ptr();
        first.bytes.extend_from_slice(b"abc");
        let in_flight = first.bytes.split().freeze();
        drop(first);
        let second = Block::take(16);
        assert_eq!(
            second.bytes.as_ptr() as usize,
            start as usize + 3,
            "carved from the same block"
        );
        drop(second);
        assert_eq!(&in_flight[..], b"abc");
    }

    #[test]
    fn a_large_block_is_reclaimed_once_nobody_holds_its_bytes() {
        let mut block = Block::take(LARGEST_READ);
        let start = block.bytes.as_ptr();
        block.bytes.resize(LARGEST_READ, 1);
        let in_flight = block.bytes.split().freeze();
        drop(block);
        let other = Block::take(LARGEST_READ);
        assert_ne!(other.bytes.as_ptr(), start, "still in flight");
        drop(in_flight);
        let again = Block::take(LARGEST_READ);
        assert_eq!(again.bytes.as_ptr(), start);
        assert_eq!(again.room(), LARGEST_READ);
    }
}
