//! The zone `cluster.local`. Pure.
//! In: a query and the cluster. Out: the reply: virtual addresses of services, pod addresses of
//! headless ones, pods by hostname and subdomain, `SRV` records of named ports; names that do not exist are `NXDOMAIN` with an SOA.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;

use crate::cluster::{Cluster, Key, allows, virtual_addresses};
use crate::names::CLUSTER_DOMAIN;

/// Seconds an answer may be kept.
const TTL: u32 = 5;

/// The reply to one query.
pub fn reply(query: &Message, cluster: &Cluster) -> Message {
    let asked = &query.metadata;
    let mut reply = Message::response(asked.id, asked.op_code);
    reply.metadata.recursion_desired = asked.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    if asked.message_type != MessageType::Query || asked.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
        return reply;
    }
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        reply.set_edns(edns);
    }
    let [question] = &query.queries[..] else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return reply;
    };
    reply.add_query(question.clone());
    match records(question, cluster) {
        Some(records) => {
            if records.is_empty() {
                reply.authorities.extend(authority());
            }
            reply.add_answers(records);
        }
        None => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.authorities.extend(authority());
        }
    }
    reply
}

/// The records of a name; `None` if the name does not exist, empty if it has none of that type.
fn records(question: &Query, cluster: &Cluster) -> Option<Vec<Record>> {
    let asked = question.name().to_lowercase().to_ascii();
    let name = asked.strip_suffix('.').unwrap_or(&asked);
    let rest = name.strip_suffix(CLUSTER_DOMAIN)?.strip_suffix(".svc.")?;
    let labels: Vec<&str> = rest.split('.').collect();
    let owner = question.name().clone();
    match labels[..] {
        [service, namespace] => {
            let (key, service) = find(cluster, namespace, service)?;
            let asked = question.query_type();
            let wanted = |ip: &IpAddr| match asked {
                RecordType::A => ip.is_ipv4(),
                RecordType::AAAA => ip.is_ipv6(),
                other => other == RecordType::ANY,
            };
            let addresses = addresses(cluster, key, service).into_iter();
            Some(
                addresses
                    .filter(wanted)
                    .map(|ip| record(owner.clone(), ip))
                    .collect(),
            )
        }
        [host, service, namespace] => {
            let (key, service) = find(cluster, namespace, service)?;
            let pod = cluster.selected(key, service).find(|pod| {
                let spec = pod.0.spec.as_ref();
                spec.and_then(|s| s.hostname.as_deref()) == Some(host)
                    && spec.and_then(|s| s.subdomain.as_deref()) == Some(&*key.1)
            })?;
            let asked = question.query_type();
            let wanted = |ip: &IpAddr| ip.is_ipv4() == (asked == RecordType::A);
            let ips = pod.ips().into_iter().filter(|_| pod.ready());
            let records = ips.filter(wanted).map(|ip| record(owner.clone(), ip));
            Some(records.collect())
        }
        [port, protocol, service, namespace] => {
            let (_, found) = find(cluster, namespace, service)?;
            let ports = found.spec.as_ref()?.ports.as_ref()?;
            let wanted = protocol.strip_prefix('_')?.to_ascii_uppercase();
            let number = ports.iter().find_map(|p| {
                let same = p.name.as_deref() == port.strip_prefix('_')
                    && p.protocol.as_deref().unwrap_or("TCP") == wanted;
                same.then(|| u16::try_from(p.port).ok()).flatten()
            })?;
            let target = format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}.");
            let target = Name::from_ascii(target).ok()?;
            Some(match question.query_type() {
                RecordType::SRV | RecordType::ANY => {
                    vec![Record::from_rdata(
                        owner,
                        TTL,
                        RData::SRV(SRV::new(0, 100, number, target)),
                    )]
                }
                _ => Vec::new(),
            })
        }
        _ => None,
    }
}

fn find<'a>(cluster: &'a Cluster, namespace: &str, name: &str) -> Option<(&'a Key, &'a Service)> {
    let key = (namespace.to_owned(), name.to_owned());
    cluster
        .services
        .get_key_value(&key)
        .map(|(key, service)| (key, service.as_ref()))
}

fn addresses(cluster: &Cluster, key: &Key, service: &Service) -> Vec<IpAddr> {
    let vips = virtual_addresses(service);
    if !vips.is_empty() {
        return vips;
    }
    // Headless: `clusterIP: None`.
    cluster
        .selected(key, service)
        .filter(|pod| pod.ready())
        .flat_map(|pod| pod.ips())
        .filter(|ip| allows(service, *ip))
        .collect()
}

fn record(owner: Name, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner, TTL, data)
}

fn authority() -> Option<Record> {
    let zone = Name::from_ascii(format!("{CLUSTER_DOMAIN}.")).ok()?;
    let server = Name::from_ascii(format!("ns.dns.{CLUSTER_DOMAIN}.")).ok()?;
    let soa = SOA::new(server.clone(), server, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(zone, TTL, RData::SOA(soa)))
}

/// The resolver configuration of a pod in `namespace`.
pub fn resolv_conf(namespace: &str, nameserver: IpAddr) -> String {
    format!(
        "search {namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}\n\
         nameserver {nameserver}\n\
         options ndots:5\n"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn cluster() -> Cluster {
        let service = |json: serde_json::Value| Arc::new(serde_json::from_value(json).unwrap());
        let mut cluster = Cluster::default();
        cluster.services.insert(
            ("shop".into(), "cart".into()),
            service(serde_json::json!({"spec": {"clusterIP": "10.96.1.1",
                "ports": [{"name": "http", "port": 80}]}})),
        );
        cluster.services.insert(
            ("shop".into(), "db".into()),
            service(serde_json::json!({"spec": {"clusterIP": "None", "selector": {"app": "db"}}})),
        );
        for (n, ready) in [(1, "True"), (2, "False")] {
            let pod = serde_json::json!({
                "metadata": {"namespace": "shop", "name": format!("db-{n}"), "labels": {"app": "db"}},
                "spec": {"containers": [], "hostname": format!("db-{n}"), "subdomain": "db"},
                "status": {"podIP": format!("10.244.1.{n}"),
                           "podIPs": [{"ip": format!("10.244.1.{n}")}, {"ip": format!("fd00::{n}")}],
                           "conditions": [{"type": "Ready", "status": ready}]},
            });
            let pod = Arc::new(serde_json::from_value(pod).unwrap());
            cluster.pods.insert(("shop".into(), format!("db-{n}")), pod);
        }
        cluster
    }

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        reply(&query, &cluster())
    }

    #[test]
    fn a_service_has_its_virtual_address_and_a_headless_one_its_ready_pods() {
        for name in [
            "cart.shop.svc.cluster.local.",
            "CART.shop.svc.Cluster.Local.",
        ] {
            let reply = ask(name, RecordType::A);
            assert_eq!(reply.answers[0].data, RData::A(A([10, 96, 1, 1].into())));
        }
        let reply = ask("db.shop.svc.cluster.local.", RecordType::A);
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].data, RData::A(A([10, 244, 1, 1].into())));
        let reply = ask("db.shop.svc.cluster.local.", RecordType::AAAA);
        assert_eq!(reply.answers.len(), 1);
        let ip = "fd00::1".parse().unwrap();
        assert_eq!(reply.answers[0].data, RData::AAAA(AAAA(ip)));
        let reply = ask("db-1.db.shop.svc.cluster.local.", RecordType::A);
        assert_eq!(reply.answers[0].data, RData::A(A([10, 244, 1, 1].into())));
        let unready = ask("db-2.db.shop.svc.cluster.local.", RecordType::A);
        assert!(unready.answers.is_empty());
    }

    #[test]
    fn an_existing_name_without_that_type_is_empty_and_an_unknown_one_does_not_exist() {
        let empty = ask("cart.shop.svc.cluster.local.", RecordType::AAAA);
        assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
        assert!(empty.answers.is_empty() && empty.authorities.len() == 1);
        for name in [
            "gone.shop.svc.cluster.local.",
            "example.com.",
            "cluster.local.",
            ".",
        ] {
            assert_eq!(
                ask(name, RecordType::A).metadata.response_code,
                ResponseCode::NXDomain,
                "{name}"
            );
        }
    }

    #[test]
    fn a_named_port_has_a_service_record() {
        let reply = ask("_http._tcp.cart.shop.svc.cluster.local.", RecordType::SRV);
        let RData::SRV(srv) = &reply.answers[0].data else {
            panic!("no SRV")
        };
        assert_eq!(srv.port, 80);
    }
}
