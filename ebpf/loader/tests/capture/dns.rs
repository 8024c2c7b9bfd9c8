//! DNS hooks: queries to known nameservers reach the proxy and seem to come back from them.

use crate::lab::{Lab, slot};
use crate::sockets::{dial, udp};
use ambit_ebpf_loader::{Counter, PodOptions};
use std::net::{Ipv4Addr, UdpSocket};

const CLUSTER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

/// The proxy's DNS server, one socket per nameserver.
fn servers(lab: &Lab) -> [UdpSocket; 2] {
    lab.capture().set_nameservers(&[CLUSTER, PUBLIC]).unwrap();
    [CLUSTER, PUBLIC].map(|server| {
        let index = lab.capture().nameserver_index(server).unwrap().unwrap();
        lab.in_pod(|| udp(&format!("127.53.0.{index}:15053")))
    })
}

/// Answers one query with its own text and the index of the server.
fn answer(servers: &[UdpSocket; 2]) {
    for (index, server) in servers.iter().enumerate() {
        let mut query = [0; 64];
        let (length, client) = server.recv_from(&mut query).unwrap();
        let mut reply = query[..length].to_vec();
        reply.extend(format!("@{index}").bytes());
        server.send_to(&reply, client).unwrap();
    }
}

fn receive(socket: &UdpSocket) -> (String, String) {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    (text, crate::sockets::canonical(from))
}

#[test]
fn one_socket_asks_two_nameservers_and_each_answers_in_its_own_name() {
    let Some(lab) = Lab::start() else { return };
    let servers = servers(&lab);
    for (bind, mapped) in [
        ("0.0.0.0:0", ""),
        ("10.77.1.2:0", ""),
        ("[::]:0", "::ffff:"),
    ] {
        let client = lab.in_pod(|| {
            let client = udp(bind);
            for (text, server) in [("first", CLUSTER), ("second", PUBLIC)] {
                let to = if mapped.is_empty() {
                    format!("{server}:53")
                } else {
                    format!("[{mapped}{server}]:53")
                };
                client.send_to(text.as_bytes(), to).unwrap();
            }
            client
        });
        answer(&servers);
        let mut answers = [receive(&client), receive(&client)];
        answers.sort();
        let expected = [("first@0", CLUSTER), ("second@1", PUBLIC)]
            .map(|(text, server)| (text.to_owned(), format!("{server}:53")));
        assert_eq!(answers, expected);
    }
    assert_eq!(lab.count(Counter::DnsRewritten), 6);
}

#[test]
fn a_connected_socket_believes_to_talk_to_the_nameserver() {
    let Some(lab) = Lab::start() else { return };
    let servers = servers(&lab);
    for (bind, prefix, suffix) in [("0.0.0.0:0", "", ""), ("[::]:0", "[::ffff:", "]")] {
        let clients = [CLUSTER, PUBLIC].map(|server| {
            lab.in_pod(|| {
                let client = udp(bind);
                client
                    .connect(format!("{prefix}{server}{suffix}:53"))
                    .unwrap();
                client.send(b"who").unwrap();
                client
            })
        });
        answer(&servers);
        for (index, (client, server)) in clients.iter().zip([CLUSTER, PUBLIC]).enumerate() {
            let peer = crate::sockets::canonical(client.peer_addr().unwrap());
            assert_eq!(peer, format!("{server}:53"));
            let (text, from) = receive(client);
            assert_eq!(
                (text, from),
                (format!("who@{index}"), format!("{server}:53"))
            );
        }
    }
}

#[test]
fn a_query_to_a_server_nobody_configured_passes_and_is_counted() {
    let Some(lab) = Lab::start() else { return };
    let _servers = servers(&lab);
    for (bind, server, counter) in [
        ("0.0.0.0:0", "10.99.0.9:53", Counter::DnsBypassed),
        ("[::]:0", "[fd99::9]:53", Counter::DnsBypassedV6),
    ] {
        let outside = lab.run(&lab.outside, || udp(server));
        let client = lab.in_pod(|| {
            let client = udp(bind);
            client.send_to(b"plain", server).unwrap();
            client
        });
        let mut buffer = [0; 16];
        let (length, from) = outside.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"plain");
        outside.send_to(b"answer", from).unwrap();
        assert_eq!(receive(&client), ("answer".to_owned(), server.to_owned()));
        assert_eq!(lab.count(counter), 1);
    }
    assert_eq!(lab.count(Counter::DnsRewritten), 0);
}

#[test]
fn tcp_to_a_nameserver_is_captured_like_any_other_connection() {
    let Some(lab) = Lab::start() else { return };
    let _servers = servers(&lab);
    let _client = lab.in_pod(|| dial("10.96.0.10:53")).unwrap();
    let (listener, destination, _) = lab.got(None);
    assert_eq!(
        (listener, destination.as_str()),
        ("outbound", "10.96.0.10:53")
    );
}

#[test]
fn a_pod_may_keep_plain_dns() {
    let Some(lab) = Lab::start() else { return };
    let server = Ipv4Addr::new(10, 99, 0, 9);
    lab.capture().set_nameservers(&[server]).unwrap();
    let options = PodOptions {
        plain_dns: true,
        ..PodOptions::default()
    };
    lab.capture().set_options(slot(1), options).unwrap();
    let outside = lab.run(&lab.outside, || udp("10.99.0.9:53"));
    lab.in_pod(|| udp("0.0.0.0:0").send_to(b"plain", (server, 53)).unwrap());
    let mut buffer = [0; 16];
    assert_eq!(outside.recv(&mut buffer).unwrap(), 5);
    assert_eq!(lab.count(Counter::DnsPlain), 1);
}

#[test]
fn the_proxy_asks_nameservers_itself() {
    let Some(lab) = Lab::start() else { return };
    let server = Ipv4Addr::new(10, 99, 0, 9);
    lab.capture().set_nameservers(&[server]).unwrap();
    let outside = lab.run(&lab.outside, || udp("10.99.0.9:53"));
    lab.run_as("proxy", &lab.pod, || {
        udp("0.0.0.0:0").send_to(b"forward", (server, 53)).unwrap();
    });
    let mut buffer = [0; 16];
    assert_eq!(outside.recv(&mut buffer).unwrap(), 7);
    assert_eq!(lab.count(Counter::Exempt), 1);
}

#[test]
fn indices_outlive_the_process() {
    let Some(mut lab) = Lab::start() else { return };
    lab.capture().set_nameservers(&[CLUSTER, PUBLIC]).unwrap();
    let before = lab.capture().nameservers().unwrap();
    lab.capture = None;
    lab.capture = Some(ambit_ebpf_loader::Capture::open(lab.config()).unwrap());
    lab.capture().set_nameservers(&[PUBLIC]).unwrap();
    assert_eq!(lab.capture().nameserver_index(CLUSTER).unwrap(), None);
    lab.capture().set_nameservers(&[PUBLIC, CLUSTER]).unwrap();
    assert_eq!(lab.capture().nameservers().unwrap(), before);
}
