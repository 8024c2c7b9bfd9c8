//! The sealed floor: one direction as records.
//! In: a stream of bytes, or of records. Out: the other.
//! Bytes are read to where they will be sealed, opened where they were read, and never copied.

use std::array;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;

use super::record::{self, CONTENT, HEADER, RECORDS, STRIDE, Sealer};

/// Reads bytes, writes records.
///
/// # Errors
/// Either side's.
pub(crate) fn seal(mut from: &TcpStream, mut to: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut sealer = Sealer::new();
    loop {
        let n = {
            let mut slots = buffer.chunks_exact_mut(STRIDE);
            let mut content: [IoSliceMut<'_>; RECORDS] = array::from_fn(|_| {
                let slot = slots.next().expect("a buffer has a slot for each record");
                IoSliceMut::new(&mut slot[HEADER..HEADER + CONTENT])
            });
            from.read_vectored(&mut content)?
        };
        if n == 0 {
            return Ok(());
        }
        let end = seal_slots(&mut sealer, buffer, n)?;
        to.write_all(&buffer[..end])?;
    }
}

/// Reads records, writes bytes.
///
/// # Errors
/// Either side's, and a record that does not open or is cut off.
pub(crate) fn open(mut from: &TcpStream, to: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut opener = Sealer::new();
    let mut opened: Vec<Range<usize>> = Vec::with_capacity(RECORDS);
    let mut have = 0;
    loop {
        let n = from.read(&mut buffer[have..])?;
        if n == 0 {
            return if have == 0 {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        have += n;
        let start = open_whole(&mut opener, &mut buffer[..have], &mut opened)?;
        write(to, buffer, &opened)?;
        buffer.copy_within(start..have, 0);
        have -= start;
    }
}

/// Seals `n` bytes that lie in their slots; returns the length of the records.
///
/// # Errors
/// The cipher's.
pub(crate) fn seal_slots(sealer: &mut Sealer, buffer: &mut [u8], n: usize) -> io::Result<usize> {
    let (mut left, mut end) = (n, 0);
    for (index, slot) in buffer.chunks_exact_mut(STRIDE).enumerate() {
        let content = left.min(CONTENT);
        if content == 0 {
            break;
        }
        // Every record but the last is full, so that they touch.
        end = index * STRIDE + sealer.seal(slot, content).map_err(io::Error::other)?;
        left -= content;
    }
    Ok(end)
}

/// Opens the whole records that `bytes` begin with; says where their contents lie and where the rest
/// begins.
///
/// # Errors
/// A record that is none, or does not open.
pub(crate) fn open_whole(
    opener: &mut Sealer,
    bytes: &mut [u8],
    opened: &mut Vec<Range<usize>>,
) -> io::Result<usize> {
    let mut start = 0;
    opened.clear();
    while let Some(length) = record::length(&bytes[start..]).map_err(io::Error::other)? {
        let Some(whole) = bytes.get_mut(start..start + length) else {
            break;
        };
        let content = opener.open(whole).map_err(io::Error::other)?;
        opened.push(start + HEADER..start + HEADER + content);
        start += length;
    }
    Ok(start)
}

fn write(mut to: &TcpStream, buffer: &[u8], parts: &[Range<usize>]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts
        .iter()
        .map(|part| IoSlice::new(&buffer[part.clone()]))
        .collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let n = to.write_vectored(rest)?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, n);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::buffers::LENGTH;
    use std::net::{Shutdown, TcpListener};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn what_is_sealed_on_one_side_opens_on_the_other() {
        let ((mut app, a), (wire_a, wire_b)) = (pair(), pair());
        let (b, mut far) = pair();
        let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = bytes.clone();
        let received = std::thread::scope(|scope| {
            scope.spawn(move || {
                app.write_all(&bytes).unwrap();
                app.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                seal(&a, &wire_a, &mut vec![0; LENGTH]).unwrap();
            });
            scope.spawn(move || {
                open(&wire_b, &b, &mut vec![0; LENGTH]).unwrap();
            });
            let mut received = Vec::new();
            far.read_to_end(&mut received).unwrap();
            received
        });
        assert!(received == expected);
    }

    #[test]
    fn a_stream_cut_off_in_a_record_is_an_error() {
        let ((mut wire, end), (b, _far)) = (pair(), pair());
        wire.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).unwrap();
        drop(wire);
        let cut = open(&end, &b, &mut vec![0; LENGTH]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
