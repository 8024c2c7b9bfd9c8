//! Asks nameservers for the addresses of a name.
//! In: a name that a client chose. Out: its addresses and how long they hold.
//! Without threads and without files but `/etc/resolv.conf`: a nameserver that somebody owns may take its time, and
//! a hosts file is about this machine. Names are complete; search domains do not apply.
//! Bounds: two datagrams per server and family, 1 s each, then the next server; a stream where an answer was cut.
//! The caller sets the deadline of it all.
//! Spec: RFC 1035, RFC 7766.

use ambit_net::socket::DialSpec;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Whom to ask.
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
}

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// None: the name has no address.
    pub(super) addresses: Vec<IpAddr>,
    /// How long that holds.
    pub(super) ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ResolveError {
    /// It is none.
    #[error("not a name")]
    NoName,
    /// There are none in `/etc/resolv.conf`.
    #[error("no nameserver is configured")]
    NoServer,
    /// The time is over.
    #[error("no answer in time")]
    Late,
    /// It answers that it cannot, or not to this question.
    #[error("nameserver {0} refused to answer")]
    Refused(SocketAddr),
    /// Its answer was cut, and there is no stream to it.
    #[error("nameserver {0} is not reachable over TCP")]
    Unreachable(SocketAddr, #[source] ambit_net::socket::DialError),
    /// A socket failed.
    #[error("nameserver {0} failed")]
    Io(SocketAddr, #[source] io::Error),
}

impl Resolver {
    /// With the nameservers of `/etc/resolv.conf`.
    pub(super) fn of_system() -> Self {
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        Self::asking(nameservers(&text))
    }

    /// With these nameservers.
    pub(super) fn asking(servers: Vec<SocketAddr>) -> Self {
        Self { servers }
    }

    /// Addresses of a name, of families that this machine has a way to.
    pub(super) async fn resolve(&self, name: &str) -> Result<Answer, ResolveError> {
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| ResolveError::NoName)?;
        let mut last = ResolveError::NoServer;
        for server in &self.servers {
            let ask = |kind| ask(*server, Query::query(name.clone(), kind));
            match tokio::join!(ask(RecordType::A), ask(RecordType::AAAA)) {
                (Ok(v4), Ok(v6)) => return Ok(join(v4, v6)),
                // A server that knows one family only is enough.
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.addresses.is_empty() => {
                    return Ok(join(some, Answer::none()));
                }
                (Err(error), _) | (_, Err(error)) => last = error,
            }
        }
        Err(last)
    }
}

impl Answer {
    fn none() -> Self {
        Self {
            addresses: Vec::new(),
            ttl: Duration::MAX,
        }
    }
}

/// Both families, as far as there is a way to them; all, if there is none.
fn join(mut v4: Answer, v6: Answer) -> Answer {
    v4.ttl = match (v4.addresses.is_empty(), v6.addresses.is_empty()) {
        (false, true) => v4.ttl,
        (true, false) => v6.ttl,
        _ => v4.ttl.min(v6.ttl),
    };
    v4.addresses.extend(v6.addresses);
    v4.addresses.truncate(MOST_ADDRESSES);
    if v4.addresses.iter().any(|ip| has_way(*ip)) {
        v4.addresses.retain(|ip| has_way(*ip));
    }
    v4
}

/// Whether the kernel knows a way to an address. Nothing is sent.
fn has_way(ip: IpAddr) -> bool {
    let socket = std::net::UdpSocket::bind((any(ip), 0));
    socket.and_then(|socket| socket.connect((ip, PORT))).is_ok()
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

async fn ask(server: SocketAddr, query: Query) -> Result<Answer, ResolveError> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(query);
    let bytes = message.to_vec().map_err(|_| ResolveError::NoName)?;
    let mut reply = datagrams(server, (&message, &bytes)).await?;
    if reply.metadata.truncation {
        reply = stream(server, (&message, &bytes)).await?;
    }
    let code = reply.metadata.response_code;
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(read(&reply)),
        _ => Err(ResolveError::Refused(server)),
    }
}

async fn datagrams(
    server: SocketAddr,
    (query, bytes): (&Message, &[u8]),
) -> Result<Message, ResolveError> {
    let failed = |error| ResolveError::Io(server, error);
    // A port of its own for each question, and connected: others' datagrams are dropped by the kernel.
    let socket = UdpSocket::bind((any(server.ip()), 0))
        .await
        .map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    let mut buffer = vec![0; MOST_DATAGRAM];
    for _ in 0..2 {
        socket.send(bytes).await.map_err(failed)?;
        let answered = async {
            loop {
                let len = socket.recv(&mut buffer).await?;
                if let Some(reply) = answer_to(query, &buffer[..len]) {
                    return Ok::<_, io::Error>(reply);
                }
            }
        };
        if let Ok(reply) = tokio::time::timeout(RESEND, answered).await {
            return reply.map_err(failed);
        }
    }
    Err(ResolveError::Late)
}

async fn stream(
    server: SocketAddr,
    (query, bytes): (&Message, &[u8]),
) -> Result<Message, ResolveError> {
    let dialled = DialSpec::new(server, RESEND).dial().await;
    let mut stream = dialled.map_err(|error| ResolveError::Unreachable(server, error))?;
    let exchanged = async {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        stream
            .write_all(&[&len.to_be_bytes()[..], bytes].concat())
            .await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    };
    let reply = exchanged.await.map_err(|e| ResolveError::Io(server, e))?;
    answer_to(query, &reply).ok_or(ResolveError::Refused(server))
}

/// A message, if it answers the question. In: hostile bytes.
fn answer_to(query: &Message, bytes: &[u8]) -> Option<Message> {
    let reply = Message::from_vec(bytes).ok()?;
    let is_ours = reply.metadata.message_type == MessageType::Response
        && reply.metadata.id == query.metadata.id
        && reply.queries == query.queries;
    is_ours.then_some(reply)
}

/// Addresses of an answer.
fn read(reply: &Message) -> Answer {
    let mut answer = Answer {
        addresses: Vec::new(),
        ttl: Duration::from_secs(u64::from(u32::MAX)),
    };
    for record in &reply.answers {
        // An alias holds no longer than its own record.
        answer.ttl = answer.ttl.min(Duration::from_secs(record.ttl.into()));
        match &record.data {
            RData::A(a) => answer.addresses.push(a.0.into()),
            RData::AAAA(aaaa) => answer.addresses.push(aaaa.0.into()),
            _ => {}
        }
    }
    answer
}

/// Nameservers in the notation of resolv.conf(5); at most three, as there.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(str::split_whitespace);
    let values = words.filter_map(|mut words| match words.next() {
        Some("nameserver") => words.next(),
        _ => None,
    });
    let addresses = values.filter_map(|value| value.parse::<IpAddr>().ok());
    addresses.take(3).map(|ip| (ip, PORT).into()).collect()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
const RESEND: Duration = Duration::from_secs(1);
const MOST_DATAGRAM: usize = 64 * 1024;
/// Of one name; a request goes to one of them.
const MOST_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use tokio::net::TcpListener;

    #[test]
    fn nameservers_are_read_as_the_system_reads_them() {
        let text = "search a b\n# nameserver 9.9.9.9\nnameserver 10.96.0.10\n\
                    nameserver\tfd00::a\nnameserver x\noptions ndots:5\n";
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10:53", "[fd00::a]:53"]);
    }

    #[test]
    fn hostile_bytes_are_no_answer() {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii("a.example.").unwrap();
        query.add_query(Query::query(name.clone(), RecordType::A));
        let mut reply = Message::response(7, OpCode::Query);
        reply.add_query(query.queries[0].clone());
        reply.add_answer(Record::from_rdata(
            name,
            9,
            RData::A(A([192, 0, 2, 1].into())),
        ));
        let good = reply.to_vec().unwrap();
        assert!(answer_to(&query, &good).is_some());
        for cut in 0..good.len() {
            let part = answer_to(&query, &good[..cut]);
            assert!(
                part.is_none_or(|m| read(&m).addresses.is_empty()),
                "cut at {cut}"
            );
        }
        for seed in 0..=255u8 {
            let noise: Vec<u8> = (0..64).map(|i: u8| i.wrapping_mul(seed) ^ seed).collect();
            assert!(answer_to(&query, &noise).is_none());
        }
        let mut other = reply.clone();
        other.metadata.id = 8;
        assert!(answer_to(&query, &other.to_vec().unwrap()).is_none());
        let mut other = reply.clone();
        other.queries[0].set_query_type(RecordType::AAAA);
        assert!(answer_to(&query, &other.to_vec().unwrap()).is_none());
    }

    /// A nameserver that says of every name: an alias, 127.0.0.1 and ::1. Cut over UDP if `cut`.
    async fn serve(cut: bool) -> SocketAddr {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(at).await.unwrap();
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 512];
            while let Ok((len, peer)) = udp.recv_from(&mut buffer).await {
                let mut reply = reply(&buffer[..len]);
                if cut {
                    reply = reply.truncate();
                }
                udp.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut query).await.unwrap();
                let bytes = reply(&query).to_vec().unwrap();
                stream.write_u16(bytes.len() as u16).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        at
    }

    fn reply(query: &[u8]) -> Message {
        let query = Message::from_vec(query).unwrap();
        let asked = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        let alias = Name::from_ascii("other.example.").unwrap();
        let data = RData::CNAME(CNAME(alias.clone()));
        reply.add_answer(Record::from_rdata(asked.name().clone(), 20, data));
        let data = match asked.query_type() {
            RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
            _ => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
        };
        reply.add_answer(Record::from_rdata(alias, 90, data));
        reply.add_query(asked);
        reply
    }

    #[tokio::test]
    async fn addresses_come_by_datagram_or_by_stream_and_hold_as_long_as_their_alias() {
        let local = tokio::task::LocalSet::new();
        let asked = async {
            for cut in [false, true] {
                let resolver = Resolver::asking(vec![serve(cut).await]);
                let answer = resolver.resolve("a.example").await.unwrap();
                assert!(answer.addresses.contains(&Ipv4Addr::LOCALHOST.into()));
                assert_eq!(answer.ttl, Duration::from_secs(20));
            }
            let none = Resolver::asking(Vec::new()).resolve("a.example").await;
            assert!(matches!(none, Err(ResolveError::NoServer)));
        };
        local.run_until(asked).await;
    }
}
