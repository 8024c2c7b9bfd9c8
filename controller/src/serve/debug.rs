//! Debug answers, as JSON.
//! Source: paths and keys of istiod's debug port where there is one (`istioctl`, Kiali read them).

use super::http::Context;
use super::xds::differs;
use crate::signing::current;
use ambit_api::{security, type_urls, workload};
use ambit_ca::rotation::Step;
use ambit_model::convert;
use ambit_runtime::admin::Reply;
use ambit_runtime::build_info;
use ambit_xds::Role;
use ambit_xds::io::server::StreamStatus;
use jiff::Timestamp;
use prost::Message;
use serde_json::{Map, Value, json};
use std::time::SystemTime;
use workload::address::Type;

const TYPES: [&str; 6] = [
    type_urls::ADDRESS,
    type_urls::AUTHORIZATION,
    type_urls::GATEWAY,
    type_urls::ROUTER,
    type_urls::CLUSTER,
    type_urls::ENDPOINTS,
];

fn reply(value: &Value) -> Reply {
    Reply::json(format!("{value:#}\n"))
}

/// What each proxy was sent and has answered.
pub(crate) fn syncz(context: &Context) -> Reply {
    let facts = context.facts.load();
    let one = |stream: &StreamStatus| {
        let mut entry = json!({
            "cluster_id": context.mesh.cluster_id,
            "proxy": proxy(stream),
            "proxy_type": kind(stream),
            "istio_version": build_info::VERSION,
            "node": stream.caller.node,
        });
        let states: Map<String, Value> = stream
            .acknowledged
            .iter()
            .map(|(type_url, done)| {
                let state = if *done { "SYNCED" } else { "STALE" };
                ((*type_url).to_owned(), state.into())
            })
            .collect();
        entry["types"] = Value::Object(states);
        if let Some(network) = differs(stream.network.as_deref(), &facts) {
            entry["other_network"] = network.into();
        }
        entry
    };
    reply(&context.xds.streams().iter().map(one).collect())
}

/// Live streams and who opened them.
pub(crate) fn connections(context: &Context) -> Reply {
    let streams = context.xds.streams();
    let clients: Vec<Value> = streams
        .iter()
        .map(|s| {
            json!({
                "connectionId": s.node_id,
                "account": s.caller.service_account,
                "node": s.caller.node,
                "type": kind(s),
            })
        })
        .collect();
    reply(&json!({"totalClients": clients.len(), "clients": clients}))
}

/// Objects in use.
pub(crate) fn configz(context: &Context) -> Reply {
    let facts = context.facts.load();
    let keys = facts.objects.iter().map(ToString::to_string);
    reply(&keys.collect())
}

/// Workloads, services and policies as proxies understand them.
pub(crate) fn ambientz(context: &Context) -> Reply {
    let set = context.sets.borrow().clone();
    let (mut workloads, mut services, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for (name, resource) in set.iter(type_urls::ADDRESS) {
        let decoded = workload::Address::decode(resource.body.clone()).ok();
        match decoded.and_then(|address| address.r#type) {
            Some(Type::Workload(w)) => workloads.push(workload(name, w)),
            Some(Type::Service(s)) => services.push(shown(name, convert::service::from_proto(s))),
            None => {}
        }
    }
    for (name, resource) in set.iter(type_urls::AUTHORIZATION) {
        if let Ok(policy) = security::Authorization::decode(resource.body.clone()) {
            policies.push(shown(name, convert::authorization::from_proto(policy)));
        }
    }
    reply(&json!({"workloads": workloads, "services": services, "policies": policies}))
}

/// Names, versions and sizes of every resource.
pub(crate) fn resourcez(context: &Context) -> Reply {
    let set = context.sets.borrow().clone();
    let mut types = Map::new();
    for type_url in TYPES {
        let listed: Vec<Value> = set
            .iter(type_url)
            .map(|(name, r)| {
                json!({
                    "name": &**name,
                    "version": &*r.version,
                    "bytes": r.body.len(),
                    "audience": format!("{:?}", r.audience),
                })
            })
            .collect();
        types.insert(type_url.to_owned(), listed.into());
    }
    reply(&json!({"generation": set.generation(), "types": types}))
}

/// The certificate authority: what is trusted, what signs and until when, what is still to be done.
pub(crate) fn authority(context: &Context) -> Reply {
    let signing = current(&context.authority.signer);
    let moment = |time: SystemTime| {
        let stamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        json!(format!("{stamp:.0}"))
    };
    let signer = signing.issuer.roots().facts();
    // Of an authority outside nobody knows which one it is.
    let own = signing.issuer.not_after().is_some();
    let signer = signer.first().filter(|_| own);
    let signer = signer.map(|root| root.serial.clone());
    let roots: Vec<Value> = signing
        .published
        .facts()
        .into_iter()
        .map(|root| {
            json!({
                "serialNumber": root.serial,
                "expirationTime": moment(root.not_after),
                "signs": signer.as_ref() == Some(&root.serial),
            })
        })
        .collect();
    reply(&json!({
        "roots": roots,
        "signsUntil": signing.issuer.not_after().map(moment),
        "external": signing.issuer.external_signer(),
        "pending": signing.pending.map(Step::as_str),
        "refused": signing.refusal,
    }))
}

/// Services by name: their keys are no JSON keys.
fn workload(name: &str, mut message: workload::Workload) -> Value {
    let services: Map<String, Value> = std::mem::take(&mut message.services)
        .into_iter()
        .map(|(key, list)| {
            let port =
                |p: &workload::Port| json!({"port": p.service_port, "target": p.target_port});
            (key, list.ports.iter().map(port).collect())
        })
        .collect();
    let mut value = shown(name, convert::workload::from_proto(message));
    value["services"] = Value::Object(services);
    value
}

fn shown<T: serde::Serialize, E: std::fmt::Display>(name: &str, converted: Result<T, E>) -> Value {
    match converted {
        Ok(value) => serde_json::to_value(value).unwrap_or_else(|e| json!(e.to_string())),
        Err(error) => json!({"name": name, "error": error.to_string()}),
    }
}

/// `<pod>.<namespace>` out of `ztunnel~<ip>~<pod>.<namespace>~<domain>`.
fn proxy(stream: &StreamStatus) -> &str {
    stream.node_id.split('~').nth(2).unwrap_or(&stream.node_id)
}

fn kind(stream: &StreamStatus) -> &'static str {
    match stream.caller.role {
        Role::Node => "ztunnel",
        Role::Gateway => "waypoint",
    }
}
