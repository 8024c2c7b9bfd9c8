//! PROXY protocol, version 2, binary form: tells an application who its client is. Pure.
//! The client's SPIFFE id travels in TLV 0xD0, the host name of the service that was asked for in TLV 0xD1, as with
//! Istio's node proxy.
//! Spec: haproxy `proxy-protocol.txt` section 2.2; `istio.workload.ApplicationTunnel`.

use ambit_model::ids::SpiffeId;
use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
/// TLV of the client's SPIFFE id.
const TLV_IDENTITY: u8 = 0xd0;
/// TLV of the service's host name.
const TLV_SERVICE: u8 = 0xd1;

/// What an application is told of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where the client is.
    pub client: SocketAddr,
    /// Its identity, if TLS proved one.
    pub identity: Option<&'a SpiffeId>,
    /// What it asked for.
    pub asked: SocketAddr,
    /// Host name of the service that is.
    pub service: Option<&'a str>,
}

/// The header of one connection.
pub fn encode(told: &Told<'_>) -> Vec<u8> {
    let (client, to) = (told.client, told.asked);
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
    if let Some(identity) = told.identity {
        add(&mut body, TLV_IDENTITY, &identity.to_string());
    }
    if let Some(service) = told.service {
        add(&mut body, TLV_SERVICE, service);
    }
    let mut header = Vec::with_capacity(16 + body.len());
    header.extend(SIGNATURE);
    header.extend([VERSION_2_PROXY, family]);
    header.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    header.extend(body);
    header
}

/// Kubernetes names are far shorter than 64 KiB.
fn add(body: &mut Vec<u8>, kind: u8, text: &str) {
    if let Ok(len) = u16::try_from(text.len()) {
        body.push(kind);
        body.extend(len.to_be_bytes());
        body.extend(text.as_bytes());
    }
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
        let mut told = Told {
            client: "10.0.0.1:4000".parse().unwrap(),
            identity: Some(&id),
            asked: "10.0.0.2:80".parse().unwrap(),
            service: Some("web"),
        };
        let header = encode(&told);
        let text = "spiffe://td/ns/a/sa/b";
        let tlvs = 3 + text.len() as u8 + 3 + 3;
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12 + tlvs]);
        assert_eq!(
            header[16..28],
            [10, 0, 0, 1, 10, 0, 0, 2, 0x0f, 0xa0, 0, 80]
        );
        assert_eq!(header[28..31], [0xd0, 0, text.len() as u8]);
        let (identity, rest) = header[31..].split_at(text.len());
        assert_eq!(identity, text.as_bytes());
        assert_eq!(rest, b"\xd1\0\x03web");
        told.asked = "[fd00::1]:80".parse().unwrap();
        (told.identity, told.service) = (None, None);
        let mixed = encode(&told);
        assert_eq!((mixed[13], mixed.len()), (TCP_V6, 16 + 36));
    }
}
