//! DNS messages: the only place that touches their bytes.
//! In: hostile bytes. Out: one question, or nothing; and encoded answers that fit their transport.
//! Spec: RFC 1035 section 4, RFC 6891.

use super::lookup::Found;
use crate::names::Resolved;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;
use std::time::Duration;

/// Time to live of our answers, seconds.
const TTL: u32 = 30;
/// Largest UDP answer we send, whatever the client says it takes.
const MOST_UDP: usize = 4096;

/// A query that can be answered.
#[derive(Clone, Debug)]
pub struct Question {
    message: Message,
    query: Query,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram, cut to what the client takes.
    Udp,
    /// A stream; 64 KiB.
    Tcp,
}

impl Transport {
    /// Label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl Question {
    /// Decodes a standard query with one question of class IN. Anything else is `None`.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        let header = &message.metadata;
        if header.message_type != MessageType::Query || header.op_code != OpCode::Query {
            return None;
        }
        let [query] = message.queries.as_slice() else {
            return None;
        };
        let query = query.clone();
        (query.query_class() == DNSClass::IN).then_some(Self { message, query })
    }

    /// The name asked for, with a final dot.
    pub fn name(&self) -> String {
        self.query.name().to_ascii()
    }

    /// The type asked for.
    pub fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// An authoritative answer; without addresses it says that the name has none of this family.
    pub fn answer(&self, found: &Found, transport: Transport) -> Option<Vec<u8>> {
        let mut reply = self.reply(ResponseCode::NoError);
        reply.metadata.authoritative = true;
        let mut owner = self.query.name().clone();
        if let Some(target) = &found.alias_of {
            let target = Name::from_ascii(format!("{target}.")).ok()?;
            let data = RData::CNAME(CNAME(target.clone()));
            reply.add_answer(Record::from_rdata(owner, TTL, data));
            owner = target;
        }
        for ip in &found.addresses {
            let data = match ip {
                IpAddr::V4(ip) => RData::A(A(*ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
            };
            reply.add_answer(Record::from_rdata(owner.clone(), TTL, data));
        }
        self.encode(reply, transport)
    }

    /// `SERVFAIL`: try another server or later.
    pub fn server_failure(&self) -> Option<Vec<u8>> {
        self.encode(self.reply(ResponseCode::ServFail), Transport::Udp)
    }

    /// Whether `bytes` answer this question.
    pub fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let Ok(reply) = Message::from_vec(bytes) else {
            return false;
        };
        reply.metadata.message_type == MessageType::Response
            && reply.metadata.id == self.message.metadata.id
            && reply
                .queries
                .first()
                .is_none_or(|q| q.name() == self.query.name())
    }

    fn reply(&self, code: ResponseCode) -> Message {
        let asked = &self.message.metadata;
        let mut reply = Message::response(asked.id, OpCode::Query);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = code;
        reply.add_query(self.query.clone());
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(u16::try_from(MOST_UDP).unwrap_or(u16::MAX));
            reply.set_edns(edns);
        }
        reply
    }

    fn encode(&self, reply: Message, transport: Transport) -> Option<Vec<u8>> {
        let bytes = reply.to_vec().ok()?;
        let room = usize::from(self.message.max_payload()).min(MOST_UDP);
        if transport == Transport::Udp && bytes.len() > room {
            return reply.truncate().to_vec().ok();
        }
        Some(bytes)
    }
}

/// A query for the addresses of `name`.
///
/// `None` if it is no name.
pub fn query(id: u16, name: &str, kind: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).ok()?, kind));
    message.to_vec().ok()
}

/// The addresses in an answer and how long they hold; `None` if it does not decode or the server failed.
pub fn resolved(bytes: &[u8]) -> Option<Resolved> {
    let message = Message::from_vec(bytes).ok()?;
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
    for record in &message.answers {
        // An alias holds no longer than its own record.
        ttl = ttl.min(record.ttl);
        match &record.data {
            RData::A(a) => addresses.push(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => addresses.push(IpAddr::V6(aaaa.0)),
            _ => {}
        }
    }
    Some(Resolved {
        addresses,
        ttl: Duration::from_secs(ttl.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str) -> Question {
        Question::decode(&query(7, name, RecordType::A).unwrap()).unwrap()
    }

    fn found(count: u8) -> Found {
        let addresses = (0..count).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        Found {
            alias_of: None,
            addresses,
        }
    }

    #[test]
    fn answers_name_the_question_and_its_addresses() {
        let question = question("web.shop.");
        let bytes = question.answer(&found(2), Transport::Udp).unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
        assert_eq!((reply.metadata.id, reply.answers[0].ttl), (7, TTL));
        let answered = resolved(&bytes).unwrap();
        assert_eq!(answered.addresses.len(), 2);
        assert_eq!(answered.ttl, Duration::from_secs(TTL.into()));
        let failed = question.server_failure().unwrap();
        assert!(resolved(&failed).is_none());
        assert!(question.is_answered_by(&bytes));
        assert!(!super::tests::question("other.").is_answered_by(&bytes));
    }

    #[test]
    fn an_alias_is_a_cname() {
        let found = Found {
            alias_of: Some("web.example".into()),
            addresses: found(1).addresses,
        };
        let bytes = question("web.example.svc.")
            .answer(&found, Transport::Udp)
            .unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!(reply.answers[0].record_type(), RecordType::CNAME);
        assert_eq!(reply.answers[1].name.to_ascii(), "web.example.");
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_truncated() {
        let question = question("web.shop.");
        let bytes = question.answer(&found(200), Transport::Udp).unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        assert!(reply.metadata.truncation && reply.answers.is_empty() && bytes.len() <= 512);
        let bytes = question.answer(&found(200), Transport::Tcp).unwrap();
        assert_eq!(resolved(&bytes).unwrap().addresses.len(), 200);
    }

    #[test]
    fn hostile_bytes_are_no_question() {
        let good = query(1, "a.b.", RecordType::A).unwrap();
        for cut in 0..good.len() {
            assert!(Question::decode(&good[..cut]).is_none(), "cut at {cut}");
        }
        let answer = question("a.b.").answer(&found(1), Transport::Udp).unwrap();
        assert!(
            Question::decode(&answer).is_none(),
            "an answer is no question"
        );
        // A name that points at itself.
        let mut looped = good.clone();
        looped.truncate(12);
        looped.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        assert!(Question::decode(&looped).is_none());
        for seed in 0..=255u8 {
            let noise: Vec<u8> = (0..64).map(|i: u8| i.wrapping_mul(seed) ^ seed).collect();
            let _ = Question::decode(&noise);
            let _ = resolved(&noise);
        }
    }
}
