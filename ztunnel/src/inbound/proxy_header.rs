//! PROXY protocol, version 2, binary form: tells an application who its client is. Pure.
//! The client's SPIFFE id travels in TLV 0xD0, as Istio's node proxy sends it.
//! Spec: haproxy `proxy-protocol.txt` section 2.2.

use ambit_model::ids::SpiffeId;
use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
/// TLV of the client's SPIFFE id.
const TLV_IDENTITY: u8 = 0xd0;

/// The header of a connection from `client` to `to`.
pub fn encode(client: SocketAddr, to: SocketAddr, identity: Option<&SpiffeId>) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    let family = match (client.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            body.extend(from.octets());
            body.extend(to.octets());
            TCP_V4
        }
        (from, to) => {
            body.extend(v6(from));
            body.extend(v6(to));
            TCP_V6
        }
    };
    body.extend(client.port().to_be_bytes());
    body.extend(to.port().to_be_bytes());
    if let Some(identity) = identity {
        let text = identity.to_string();
        // Kubernetes names are far shorter than 64 KiB.
        if let Ok(len) = u16::try_from(text.len()) {
            body.push(TLV_IDENTITY);
            body.extend(len.to_be_bytes());
            body.extend(text.into_bytes());
        }
    }
    let mut header = Vec::with_capacity(16 + body.len());
    header.extend(SIGNATURE);
    header.extend([VERSION_2_PROXY, family]);
    header.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    header.extend(body);
    header
}

fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let id = SpiffeId::new("td", "a", "b");
        let client = "10.0.0.1:4000".parse().unwrap();
        let header = encode(client, "10.0.0.2:80".parse().unwrap(), Some(&id));
        let text = "spiffe://td/ns/a/sa/b";
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12 + 3 + text.len() as u8]);
        assert_eq!(
            header[16..28],
            [10, 0, 0, 1, 10, 0, 0, 2, 0x0f, 0xa0, 0, 80]
        );
        assert_eq!(header[28..31], [0xd0, 0, text.len() as u8]);
        assert_eq!(&header[31..], text.as_bytes());
        let mixed = encode(client, "[fd00::1]:80".parse().unwrap(), None);
        assert_eq!((mixed[13], mixed.len()), (TCP_V6, 16 + 36));
    }
}
