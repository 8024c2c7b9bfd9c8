//! The bytes of bulk transfers. Pure.
//! In: an offset of the stream. Out: what must be there, so that a byte lost, repeated or moved is seen.

/// Longest piece that can be asked for, in bytes.
pub(crate) const CHUNK: usize = 256 * 1024;
/// The stream repeats after this many bytes; a prime, so that whole records or pages that change places
/// do not go unnoticed.
const PERIOD: usize = 65_521;

/// The pattern, unrolled so that every piece is contiguous.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// Makes it; the same in every process.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(PERIOD)
        .collect();
        let whole = period.iter().copied().cycle().take(PERIOD + CHUNK);
        Self(whole.collect())
    }

    /// `len` bytes from `offset` of the stream; at most [`CHUNK`].
    pub(crate) fn at(&self, offset: u64, len: usize) -> &[u8] {
        let start = usize::try_from(offset % PERIOD as u64).expect("below the period");
        &self.0[start..start + len.min(CHUNK)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_one_stream_and_a_moved_record_differs() {
        let pattern = Pattern::new();
        let mut joined = pattern.at(0, 1000).to_vec();
        joined.extend(pattern.at(1000, CHUNK - 1000));
        assert_eq!(joined, pattern.at(0, CHUNK));
        assert_eq!(pattern.at(PERIOD as u64, 100), pattern.at(0, 100));
        assert_ne!(pattern.at(0, 16_384), pattern.at(16_384, 16_384));
        assert_ne!(pattern.at(0, 16_384), pattern.at(65_536, 16_384));
    }
}
