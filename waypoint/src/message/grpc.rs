//! gRPC messages as they pass: how many, told by their length prefixes.
//! In: pieces of a body. Out: a count. Spec: gRPC over HTTP/2, "Length-Prefixed-Message".

/// Compressed flag and length.
const PREFIX: usize = 5;

/// Counts the messages of one body.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the current message still to come.
    left: u64,
    count: u64,
}

impl Messages {
    /// One more piece. A message counts with its prefix.
    pub(crate) fn saw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.left -= passed as u64;
            bytes = &bytes[passed..];
            let more = (PREFIX - self.have).min(bytes.len());
            self.prefix[self.have..self.have + more].copy_from_slice(&bytes[..more]);
            self.have += more;
            bytes = &bytes[more..];
            if self.have == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length).into();
                self.have = 0;
                self.count += 1;
            }
        }
    }

    /// Messages begun so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut body = Vec::new();
        for length in [0_u32, 1, 5, 300] {
            body.push(0);
            body.extend(length.to_be_bytes());
            body.resize(body.len() + length as usize, b'x');
        }
        for size in [1, 2, 3, 7, body.len()] {
            let mut messages = Messages::default();
            for piece in body.chunks(size) {
                messages.saw(piece);
            }
            assert_eq!(messages.count(), 4, "pieces of {size}");
        }
        let mut cut = Messages::default();
        cut.saw(&[0, 0, 0]);
        assert_eq!(cut.count(), 0);
        cut.saw(&[0, 9, 1, 2]);
        assert_eq!(cut.count(), 1);
    }
}
