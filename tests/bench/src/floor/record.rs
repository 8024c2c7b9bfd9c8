//! Records as TLS 1.3 has them on the wire. Pure.
//! In: bytes in their place in a buffer. Out: the same place sealed or opened.
//! The key is a constant: this measures what sealing costs and protects nothing.
//! Spec: RFC 8446 section 5.2; AES-128-GCM.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

/// Longest content of a record.
pub(crate) const CONTENT: usize = 16_384;
/// Type, version, length.
pub(crate) const HEADER: usize = 5;
/// Inner content type and tag.
const TRAILER: usize = 1 + TAG;
const TAG: usize = 16;
/// Longest record.
pub(crate) const STRIDE: usize = HEADER + CONTENT + TRAILER;
/// Records sealed or opened per system call.
pub(crate) const RECORDS: usize = 16;

const APPLICATION_DATA: u8 = 23;

/// One direction's key and sequence number.
pub(crate) struct Sealer {
    key: LessSafeKey,
    sequence: u64,
}

impl Sealer {
    /// At the first record.
    pub(crate) fn new() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("16 bytes are an AES-128 key");
        Self {
            key: LessSafeKey::new(key),
            sequence: 0,
        }
    }

    /// Seals `content` bytes behind the header's place in `slot`; returns the record's length.
    pub(crate) fn seal(&mut self, slot: &mut [u8], content: usize) -> Result<usize, Unspecified> {
        let (header, rest) = slot.split_at_mut(HEADER);
        let sealed = u16::try_from(content + TRAILER).map_err(|_| Unspecified)?;
        header[..3].copy_from_slice(&[APPLICATION_DATA, 3, 3]);
        header[3..].copy_from_slice(&sealed.to_be_bytes());
        rest[content] = APPLICATION_DATA;
        let nonce = self.next();
        let (inner, tail) = rest.split_at_mut(content + 1);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), inner)?;
        tail[..TAG].copy_from_slice(tag.as_ref());
        Ok(HEADER + content + TRAILER)
    }

    /// Opens one whole record in place; returns the length of its content.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<usize, Unspecified> {
        let (header, sealed) = record.split_at_mut(HEADER);
        let nonce = self.next();
        let inner = self.key.open_in_place(nonce, Aad::from(&*header), sealed)?;
        match inner.split_last() {
            Some((&APPLICATION_DATA, content)) => Ok(content.len()),
            _ => Err(Unspecified),
        }
    }

    fn next(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.sequence.to_be_bytes());
        self.sequence += 1;
        Nonce::assume_unique_for_key(bytes)
    }
}

/// Length of the record that `bytes` begin with; none while its header is not whole.
///
/// # Errors
/// It is no application data of a length a record may have.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Unspecified> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let sealed = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let good = header[0] == APPLICATION_DATA && (TRAILER..=CONTENT + TRAILER).contains(&sealed);
    if good {
        Ok(Some(HEADER + sealed))
    } else {
        Err(Unspecified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_once_in_its_turn_and_unchanged() {
        let mut slot = vec![1; STRIDE];
        let (mut sealer, mut opener) = (Sealer::new(), Sealer::new());
        for content in [CONTENT, 1, 100] {
            slot[HEADER..HEADER + content].fill(9);
            let n = sealer.seal(&mut slot, content).unwrap();
            assert_eq!(length(&slot), Ok(Some(n)));
            assert_ne!(slot[HEADER..HEADER + content], vec![9; content]);
            let mut copy = slot[..n].to_vec();
            assert_eq!(opener.open(&mut slot[..n]), Ok(content));
            assert_eq!(slot[HEADER..HEADER + content], vec![9; content]);
            assert!(
                Sealer {
                    sequence: 77,
                    ..Sealer::new()
                }
                .open(&mut copy)
                .is_err()
            );
        }
        let n = sealer.seal(&mut slot, 50).unwrap();
        slot[20] ^= 1;
        assert!(opener.open(&mut slot[..n]).is_err());
    }

    #[test]
    fn lengths_no_record_has_are_refused() {
        assert_eq!(length(&[23, 3, 3, 0]), Ok(None));
        assert_eq!(length(&[23, 3, 3, 0, 17]), Ok(Some(22)));
        assert!(length(&[23, 3, 3, 0, 16]).is_err());
        assert!(length(&[23, 3, 3, 0xff, 0xff]).is_err());
        assert!(length(&[22, 3, 3, 0, 17]).is_err());
    }
}
