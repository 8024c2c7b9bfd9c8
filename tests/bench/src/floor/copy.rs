//! The plain floor: bytes as they are.
//! In: a stream. Out: the same stream.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

/// Copies to the end.
///
/// # Errors
/// Either side's.
pub(crate) fn copy(mut from: &TcpStream, mut to: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let n = from.read(buffer)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n])?;
    }
}
