//! Addresses as protobuf carries them: 4 or 16 bytes.

use std::net::IpAddr;

/// An address as the wire carries it.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
