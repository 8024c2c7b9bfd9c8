//! PROXY protocol, version 2: what a proxy says of a connection before its first byte.
//! In: a connection. Out: whom it is from and for, and who that is proved to be; the rest is left on it.
//! Spec: haproxy `proxy-protocol.txt` section 2.2; TLVs 0xD0 (SPIFFE id) and 0xD1 (host name) of Istio's node proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
const IDENTITY: u8 = 0xd0;
const SERVICE: u8 = 0xd1;

/// What was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) identity: Option<String>,
    pub(crate) service: Option<String>,
}

/// Reads the header of one connection.
///
/// # Errors
/// There is none, or it is cut off.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Proxied> {
    let mut head = [0; 16];
    from.read_exact(&mut head).await.context("header")?;
    ensure!(head[..12] == SIGNATURE, "no PROXY protocol");
    ensure!(head[12] == VERSION_2_PROXY, "version or command");
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    from.read_exact(&mut body).await.context("addresses")?;
    let mut rest = body.as_slice();
    let (peer, local) = match head[13] {
        TCP_V4 => (v4(&mut rest)?, v4(&mut rest)?),
        TCP_V6 => (v6(&mut rest)?, v6(&mut rest)?),
        other => anyhow::bail!("address family {other:#x}"),
    };
    let ports: [u8; 4] = take(&mut rest)?;
    let mut proxied = Proxied {
        peer: SocketAddr::new(peer, u16::from_be_bytes([ports[0], ports[1]])),
        local: SocketAddr::new(local, u16::from_be_bytes([ports[2], ports[3]])),
        identity: None,
        service: None,
    };
    while !rest.is_empty() {
        let [kind, high, low] = take(&mut rest)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = rest.split_at_checked(len).context("TLV")?;
        rest = after;
        let text = || String::from_utf8_lossy(value).into_owned();
        match kind {
            IDENTITY => proxied.identity = Some(text()),
            SERVICE => proxied.service = Some(text()),
            _ => {}
        }
    }
    Ok(proxied)
}

fn take<const N: usize>(from: &mut &[u8]) -> anyhow::Result<[u8; N]> {
    let (first, rest) = from.split_first_chunk().context("too short")?;
    *from = rest;
    Ok(*first)
}

fn v4(from: &mut &[u8]) -> anyhow::Result<IpAddr> {
    Ok(Ipv4Addr::from(take::<4>(from)?).into())
}

fn v6(from: &mut &[u8]) -> anyhow::Result<IpAddr> {
    Ok(Ipv6Addr::from(take::<16>(from)?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_names_are_read_and_the_rest_is_left() {
        let mut sent = SIGNATURE.to_vec();
        sent.extend([VERSION_2_PROXY, TCP_V4, 0, 12 + 4 + 5 + 4]);
        sent.extend([10, 0, 0, 1, 10, 0, 0, 2, 0x0f, 0xa0, 0, 80]);
        sent.extend([SERVICE, 0, 1, b'w', 0x04, 0, 2, 0, 0, IDENTITY, 0, 1, b'i']);
        sent.extend(b"rest");
        let mut from = sent.as_slice();
        let proxied = read(&mut from).await.unwrap();
        assert_eq!(proxied.peer, "10.0.0.1:4000".parse().unwrap());
        assert_eq!(proxied.local, "10.0.0.2:80".parse().unwrap());
        assert_eq!(proxied.identity.as_deref(), Some("i"));
        assert_eq!(proxied.service.as_deref(), Some("w"));
        assert_eq!(from, b"rest");
        for cut in 0..sent.len() - 4 {
            assert!(read(&mut &sent[..cut]).await.is_err(), "{cut}");
        }
    }
}
