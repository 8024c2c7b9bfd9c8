//! Two pods in network namespaces, one proxy, real sockets and real TLS:
//! application → outbound → HBONE → inbound → application.
//! Capture is stood in for by marked sockets and by listeners bound to the addresses that eBPF would
//! steer; all else is what runs on a node. Needs root; says so and fails under CI otherwise.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its set-up too"
)]

#[path = "node/mesh.rs"]
mod mesh;
#[path = "node/network.rs"]
mod network;

use ambit_ztunnel::pod::Role;
use mesh::{CLIENT, Mesh, SERVER, VIP};
use network::{ALIAS, LOOP, Pods};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Client and server pod, served by one proxy.
struct Node {
    mesh: Mesh,
    pods: Pods,
}

impl Node {
    fn start(name: &str, policies: Vec<ambit_api::security::Authorization>) -> Option<Self> {
        let pods = Pods::make(name)?;
        let mesh = Mesh::start(policies);
        let outbound = pods.client.listen(VIP.parse().unwrap());
        mesh.serve(
            "client",
            &pods.client.netns,
            vec![(Role::Outbound, outbound)],
        );
        let hbone = pods.server.listen("[::]:15008".parse().unwrap());
        mesh.serve("server", &pods.server.netns, vec![(Role::Hbone, hbone)]);
        Some(Self { mesh, pods })
    }

    /// The application of the client pod dials the service.
    fn dial(&self) -> TcpStream {
        let stream = self.pods.client.connect_captured(VIP.parse().unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// It dials an address that is captured only for this.
    fn dial_captured(&self, to: &str) -> TcpStream {
        let listener = self.pods.client.listen(to.parse().unwrap());
        self.mesh.serve(
            "client",
            &self.pods.client.netns,
            vec![(Role::Outbound, listener)],
        );
        let stream = self.pods.client.connect_captured(to.parse().unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The application of the server pod.
    fn application(&self) -> TcpListener {
        let bind = || TcpListener::bind("0.0.0.0:8080");
        self.pods.server.netns.enter(bind).unwrap().unwrap()
    }
}

/// Reads a request to its end, answers, and tells who the client was.
fn answer_once(listener: &TcpListener, answer: &[u8]) -> (SocketAddr, Vec<u8>) {
    let (mut stream, peer) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    stream.read_to_end(&mut request).unwrap();
    stream.write_all(answer).unwrap();
    (peer, request)
}

#[test]
fn a_connection_crosses_by_hbone_and_the_application_sees_its_client() {
    let Some(node) = Node::start("through", vec![]) else {
        return;
    };
    let application = node.application();
    let server = std::thread::spawn(move || answer_once(&application, &[7; 300_000]));
    let mut app = node.dial();
    app.write_all(&[5; 200_000]).unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    app.read_to_end(&mut reply).unwrap();
    let (peer, request) = server.join().unwrap();
    assert_eq!((request.len(), reply.len()), (200_000, 300_000));
    assert!(request.iter().all(|b| *b == 5) && reply.iter().all(|b| *b == 7));
    assert_eq!(
        peer.ip().to_string(),
        CLIENT,
        "the application sees its client"
    );

    let both = [
        "connection_security_policy=\"mutual_tls\"",
        "response_flags=\"-\"",
    ];
    for reporter in ["reporter=\"source\"", "reporter=\"destination\""] {
        let labels = [&both[..], &[reporter]].concat();
        node.mesh
            .wait_for_metric("istio_tcp_connections_closed_total", &labels, 1);
        node.mesh
            .wait_for_metric("istio_tcp_connections_opened_total", &labels, 1);
        node.mesh
            .wait_for_metric("istio_tcp_received_bytes_total", &labels, 200_000);
        node.mesh
            .wait_for_metric("istio_tcp_sent_bytes_total", &labels, 300_000);
        let names = [
            "source_workload=\"client\"",
            "source_principal=\"spiffe://cluster.local/ns/shop/sa/client\"",
            "destination_workload=\"server\"",
            "destination_principal=\"spiffe://cluster.local/ns/shop/sa/server\"",
            "destination_service=\"web.shop.svc.cluster.local\"",
        ];
        let labels = [&labels[..], &names[..]].concat();
        node.mesh
            .wait_for_metric("istio_tcp_connections_opened_total", &labels, 1);
    }
    node.mesh.wait_for_log(&[
        "direction=\"outbound\"",
        "bytes_sent=200000",
        "bytes_recv=300000",
    ]);
    let hbone = format!("dst.hbone_addr={SERVER}:8080");
    node.mesh
        .wait_for_log(&["direction=\"inbound\"", "bytes_sent=300000", &hbone]);
}

#[test]
fn a_denied_connection_is_refused_with_401_and_counted_on_both_sides() {
    let Some(node) = Node::start("denied", vec![mesh::deny("client")]) else {
        return;
    };
    let _application = node.application();
    let mut app = node.dial();
    let mut reply = Vec::new();
    let end = app.read_to_end(&mut reply);
    assert!(
        end.is_err() && reply.is_empty(),
        "reset, not an orderly end: {end:?}"
    );
    let deny = "response_flags=\"DENY\"";
    for name in ["opened", "closed", "failed"] {
        let metric = format!("istio_tcp_connections_{name}_total");
        node.mesh
            .wait_for_metric(&metric, &["reporter=\"destination\"", deny], 1);
    }
    node.mesh
        .wait_for_log(&["direction=\"outbound\"", "http status: 401 Unauthorized"]);
    node.mesh.wait_for_log(&[
        "direction=\"inbound\"",
        "explicitly denied by: shop/deny-client",
        "policy=\"shop/deny-client\"",
        "rule=0",
    ]);
}

#[test]
fn a_policy_change_cuts_live_connections_it_no_longer_allows() {
    let Some(node) = Node::start("change", vec![]) else {
        return;
    };
    let application = node.application();
    let mut app = node.dial();
    app.write_all(b"hello").unwrap();
    let (mut server, _) = application.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = [0; 5];
    server.read_exact(&mut hello).unwrap();
    node.mesh.add_policy(mesh::deny("client"));
    let end = app.read(&mut [0; 1]);
    assert!(end.is_err(), "the client is reset: {end:?}");
    assert!(server.read(&mut [0; 1]).is_err(), "the application too");
    node.mesh.wait_for_log(&[
        "direction=\"inbound\"",
        "connection closed due to policy change",
    ]);
}

#[test]
fn a_closed_application_port_is_a_503_and_a_reset() {
    let Some(node) = Node::start("closed", vec![]) else {
        return;
    };
    let mut app = node.dial();
    assert!(app.read(&mut [0; 1]).is_err());
    node.mesh
        .wait_for_log(&["direction=\"outbound\"", "http status: 503"]);
    node.mesh
        .wait_for_log(&["direction=\"inbound\"", "application not reachable"]);
}

#[test]
fn what_the_mesh_does_not_know_stays_plain_tcp() {
    let Some(node) = Node::start("plain", vec![]) else {
        return;
    };
    let outside = format!("{ALIAS}:9000");
    let bind = || TcpListener::bind("0.0.0.0:9000");
    let application = node.pods.server.netns.enter(bind).unwrap().unwrap();
    let server = std::thread::spawn(move || answer_once(&application, b"hello"));
    let mut app = node.dial_captured(&outside);
    app.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    app.read_to_end(&mut reply).unwrap();
    server.join().unwrap();
    assert_eq!(reply, b"hello");
    let labels = [
        "reporter=\"source\"",
        "destination_workload=\"unknown\"",
        "connection_security_policy=\"unknown\"",
    ];
    node.mesh
        .wait_for_metric("istio_tcp_connections_closed_total", &labels, 1);
}

#[test]
fn a_connection_of_the_proxy_that_comes_back_to_it_is_refused() {
    let Some(node) = Node::start("loop", vec![]) else {
        return;
    };
    let mut app = node.dial_captured(&format!("{LOOP}:9000"));
    assert!(!matches!(app.read(&mut [0; 1]), Ok(1)));
    node.mesh
        .wait_for_log(&["attempted recursive call to ourselves"]);
    let labels = ["reporter=\"source\""];
    node.mesh
        .wait_for_metric("istio_tcp_connections_closed_total", &labels, 2);
}

/// Plain TCP from the client's namespace to the server pod, captured on its way in.
fn plain_client(node: &Node) -> TcpStream {
    let to: SocketAddr = format!("{SERVER}:8080").parse().unwrap();
    let inbound = node.pods.server.listen_on("eth0", to);
    node.mesh.serve(
        "server",
        &node.pods.server.netns,
        vec![(Role::Inbound, inbound.into())],
    );
    let stream = node
        .pods
        .client
        .netns
        .enter(|| TcpStream::connect(to))
        .unwrap()
        .unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn plaintext_enters_with_its_address_and_without_identity() {
    let Some(node) = Node::start("plaintext", vec![]) else {
        return;
    };
    let application = node
        .pods
        .server
        .listen_on("lo", "0.0.0.0:8080".parse().unwrap());
    let server = std::thread::spawn(move || answer_once(&application, b"hello"));
    let mut app = plain_client(&node);
    app.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    app.read_to_end(&mut reply).unwrap();
    let (peer, _) = server.join().unwrap();
    assert_eq!(
        (reply.as_slice(), peer.ip().to_string().as_str()),
        (&b"hello"[..], CLIENT)
    );
    let labels = [
        "reporter=\"destination\"",
        "source_workload=\"client\"",
        "source_principal=\"unknown\"",
        "connection_security_policy=\"unknown\"",
        "destination_service=\"web.shop.svc.cluster.local\"",
    ];
    node.mesh
        .wait_for_metric("istio_tcp_connections_closed_total", &labels, 1);
}

#[test]
fn plaintext_is_refused_where_an_identity_is_asked_for() {
    let Some(node) = Node::start("strict", vec![mesh::allow_only("client")]) else {
        return;
    };
    let _application = node
        .pods
        .server
        .listen_on("lo", "0.0.0.0:8080".parse().unwrap());
    let mut app = plain_client(&node);
    assert!(app.read(&mut [0; 1]).is_err(), "reset");
    node.mesh.wait_for_log(&[
        "allow policies exist, but none allowed",
        "shop/allow-client",
    ]);
}

#[test]
fn a_drain_lets_live_connections_work_and_cuts_them_at_the_deadline() {
    let Some(node) = Node::start("drain", vec![]) else {
        return;
    };
    let application = node.application();
    let mut app = node.dial();
    app.write_all(b"before").unwrap();
    let (mut server, _) = application.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = [0; 6];
    server.read_exact(&mut text).unwrap();
    node.mesh.drain();
    server.write_all(b"during").unwrap();
    app.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"during");
    assert!(app.read(&mut [0; 1]).is_err(), "cut, not ended");
    node.mesh
        .wait_for_log(&["connection closed due to connection drain"]);
}

#[test]
fn names_of_the_mesh_are_answered_and_others_asked_upstream() {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    let Some(node) = Node::start("dns", vec![]) else {
        return;
    };
    let pod = &node.pods.client;
    let listener = pod.bind_udp("0.0.0.0:15053".parse().unwrap());
    node.mesh
        .serve("client", &pod.netns, vec![(Role::DnsUdp, listener.into())]);
    let upstream = node
        .pods
        .server
        .bind_udp(format!("{SERVER}:53").parse().unwrap());
    let nameserver = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (len, from) = upstream.recv_from(&mut buffer).unwrap();
        let mut message = Message::from_vec(&buffer[..len]).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = ResponseCode::NXDomain;
        upstream.send_to(&message.to_vec().unwrap(), from).unwrap();
        from.ip().to_string()
    });
    let client = pod.bind_udp("127.0.0.1:0".parse().unwrap());
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |name: &str| {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        client
            .send_to(&query.to_vec().unwrap(), "127.53.0.1:15053")
            .unwrap();
        let mut buffer = [0; 512];
        let (len, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(
            from.to_string(),
            "127.53.0.1:15053",
            "answered by whom it asked"
        );
        Message::from_vec(&buffer[..len]).unwrap()
    };
    let answer = ask("web.shop.");
    assert_eq!(
        answer.answers[0].data.to_string(),
        VIP.split(':').next().unwrap()
    );
    let answer = ask("example.org.");
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(nameserver.join().unwrap(), CLIENT, "asked from the pod");
    node.mesh
        .wait_for_metric("istio_dns_requests_total", &["request_protocol=\"udp\""], 2);
    node.mesh
        .wait_for_metric("istio_dns_upstream_requests_total", &[], 1);
    node.mesh
        .wait_for_metric("istio_dns_upstream_failures_total", &[], 0);
}
