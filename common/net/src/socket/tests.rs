use super::*;

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::netlink::{Family, LocalRoute, Netlink, Packets, Rule, Target};
use crate::sysctl::{Sysctl, SysctlRoot};
use crate::test_ns;

const SECOND: Duration = Duration::from_secs(5);

async fn loopback_ns() -> Option<Netns> {
    let ns = test_ns::scratch()?;
    Netlink::open(&ns).unwrap().link_up("lo").await.unwrap();
    Some(ns)
}

#[tokio::test]
async fn a_group_shares_one_port_and_a_dual_stack_member_takes_v4() {
    let Some(ns) = loopback_ns().await else {
        return;
    };
    let mut spec = ListenSpec::new((Ipv6Addr::UNSPECIFIED, 15001).into());
    spec.reuse_port = true;
    spec.transparent = true;
    let first = spec.tcp(Some(&ns)).unwrap();
    let _second = spec.tcp(Some(&ns)).unwrap();
    spec.reuse_port = false;
    let refused = spec.tcp(Some(&ns)).unwrap_err();
    assert_eq!(
        (refused.step, refused.source.kind()),
        (Step::Bind, io::ErrorKind::AddrInUse)
    );
    assert_eq!(first.local_addr().unwrap().port(), 15001);

    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 15001));
    DialSpec::new(to, SECOND).within(&ns).dial().await.unwrap();
}

#[tokio::test]
async fn the_socket_belongs_to_the_namespace_it_was_made_in() {
    let Some(ns) = loopback_ns().await else {
        return;
    };
    let listener = ListenSpec::new((Ipv4Addr::LOCALHOST, 0).into())
        .tcp(Some(&ns))
        .unwrap();
    let to = listener.local_addr().unwrap();
    let from_outside = DialSpec::new(to, SECOND).dial().await.unwrap_err();
    assert_eq!(from_outside.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(from_outside.to(), to);

    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut client = DialSpec::new(to, SECOND).within(&ns).dial().await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"hi").await.unwrap();
    let mut got = [0; 2];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hi");
}

/// A namespace in which an application is reached from its client's own address.
pub(super) async fn app_ns() -> Option<Netns> {
    let ns = loopback_ns().await?;
    let netlink = Netlink::open(&ns).unwrap();
    let rule = Rule {
        family: Family::V4,
        priority: 32763,
        mark: 0x112,
        mask: 0xfff,
        packets: Packets::All,
        to: Target::Table(101),
    };
    netlink.add_rule(&rule).await.unwrap();
    let route = LocalRoute::Loop {
        family: Family::V4,
        table: 101,
        source: None,
    };
    netlink.set_default_route(&route).await.unwrap();
    let sysctls = SysctlRoot::default();
    sysctls.write(&ns, Sysctl::TcpFwmarkAccept, 1).unwrap();
    sysctls.write(&ns, Sysctl::FwmarkReflect4, 1).unwrap();
    Some(ns)
}

/// The recipe for it.
pub(super) fn to_app(ns: &Netns, port: u16, client: IpAddr) -> DialSpec<'_> {
    let mut spec = DialSpec::new((Ipv4Addr::LOCALHOST, port).into(), SECOND).within(ns);
    spec.from = Some(client);
    spec.mark = Some(0x112);
    spec.bind_device = Some("lo");
    spec
}

#[tokio::test]
async fn a_foreign_source_address_reaches_the_application() {
    let Some(ns) = app_ns().await else {
        return;
    };
    let listener = ListenSpec::new((Ipv4Addr::UNSPECIFIED, 8080).into())
        .tcp(Some(&ns))
        .unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let client: IpAddr = "192.0.2.77".parse().unwrap();
    let mut spec = to_app(&ns, 8080, client);
    spec.keepalive = Some(Keepalive::default());
    let dialled = spec.dial().await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), client);
    assert_eq!(dialled.local_addr().unwrap(), peer);

    spec.to.set_port(8081);
    assert_eq!(
        spec.dial().await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn answers_leave_from_the_address_that_was_asked() {
    let Some(ns) = loopback_ns().await else {
        return;
    };
    let mut spec = ListenSpec::new((Ipv4Addr::UNSPECIFIED, 15053).into());
    spec.device = Some("lo");
    let server = tokio::net::UdpSocket::from_std(spec.udp(Some(&ns)).unwrap()).unwrap();
    let client = ListenSpec::new((Ipv4Addr::UNSPECIFIED, 0).into())
        .udp(Some(&ns))
        .unwrap();
    let client = tokio::net::UdpSocket::from_std(client).unwrap();
    client
        .send_to(b"question", "127.53.0.9:15053")
        .await
        .unwrap();

    let mut buffer = [0; 512];
    let asked = recv_datagram(&server, &mut buffer).await.unwrap();
    assert_eq!(asked.local.to_string(), "127.53.0.9");
    assert_eq!(&buffer[..asked.len], b"question");
    send_datagram(&server, b"answer", asked.peer, asked.local)
        .await
        .unwrap();
    let (len, from) = client.recv_from(&mut buffer).await.unwrap();
    assert_eq!(
        (&buffer[..len], from.to_string().as_str()),
        (&b"answer"[..], "127.53.0.9:15053")
    );

    client.send_to(&[0; 600], "127.53.0.9:15053").await.unwrap();
    let long = recv_datagram(&server, &mut buffer).await.unwrap_err();
    assert_eq!(long.kind(), io::ErrorKind::InvalidData);
}
