//! Servers of networking.istio.io Gateways that select the pods of an ingress gateway of ours.
//! In: those Gateways, the labels of our pods. Out: plaintext HTTP servers, and a status for each Gateway.
//! Spec: istio/api networking/v1 Gateway.

use super::GatewayFact;
use super::listeners::OWN;
use crate::out::Out;
use crate::statuses::Condition;
use crate::world::{Name, World, name_of};
use ambit_api::labels;
use ambit_crds::gateway::{GatewaySpec, GatewayStatus};
use ambit_crds::istio::IstioGatewaySpec;
use ambit_crds::{Kind, ObjectKey, Resource};
use ambit_model::route::VirtualHost;
use std::collections::BTreeMap;

/// Condition of a Gateway: whether any gateway serves it.
const BOUND: &str = "ambit.io/Bound";

/// A server that takes plaintext HTTP.
#[derive(Clone, Debug)]
pub(crate) struct ServerFact<'a> {
    /// `<namespace>/<name>` of its Gateway.
    pub(crate) gateway: String,
    pub(crate) port: u16,
    /// Name of the port.
    pub(crate) name: &'a str,
    pub(crate) hosts: Vec<ServedHost<'a>>,
}

/// A host of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServedHost<'a> {
    pub(crate) host: VirtualHost,
    /// Namespace of VirtualServices that may use it; `None`: any.
    pub(crate) namespace: Option<&'a str>,
}

/// Servers at one gateway, oldest Gateway first.
pub(super) fn derive<'a>(
    world: &World<'a>,
    name: Name<'_>,
    object: &Resource<GatewaySpec, GatewayStatus>,
) -> Vec<ServerFact<'a>> {
    let selecting = world.istio_gateways.iter();
    let selecting = selecting.filter(|classic| selects(&classic.spec, name, object));
    selecting.flat_map(|classic| servers(classic)).collect()
}

/// Whether its selector takes the pods of a gateway; an empty one takes all.
fn selects(
    spec: &IstioGatewaySpec,
    (_, name): Name<'_>,
    object: &Resource<GatewaySpec, GatewayStatus>,
) -> bool {
    let extra = object.spec.infrastructure.as_ref().map(|i| &i.labels);
    spec.selector.iter().all(|(key, value)| match key.as_str() {
        labels::GATEWAY_NAME => value == name,
        labels::GATEWAY_CLASS_NAME => *value == object.spec.gateway_class_name,
        _ => extra.is_some_and(|labels| labels.get(key) == Some(value)),
    })
}

fn servers(classic: &Resource<IstioGatewaySpec>) -> impl Iterator<Item = ServerFact<'_>> {
    let (own, name) = name_of(&classic.metadata);
    let servers = classic.spec.servers.iter();
    let served = servers.filter(|s| s.is_http() && !OWN.contains(&s.port.number));
    served.map(move |server| ServerFact {
        gateway: format!("{own}/{name}"),
        port: server.port.number,
        name: &server.port.name,
        hosts: server
            .hosts
            .iter()
            .filter_map(|text| host(text, own))
            .collect(),
    })
}

/// `[<namespace>/]<host>`; the namespace may be `.`, its own, or `*`, any.
fn host<'a>(text: &'a str, own: &'a str) -> Option<ServedHost<'a>> {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    Some(ServedHost {
        host: VirtualHost::parse(host)?,
        namespace: match namespace {
            "*" => None,
            "." => Some(own),
            other => Some(other),
        },
    })
}

/// Tells every such Gateway who serves it, and what of it is not served.
pub(crate) fn report(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    for classic in &world.istio_gateways {
        let (namespace, name) = name_of(&classic.metadata);
        let ingress = gateways.values().filter(|g| g.is_ingress());
        let serving: Vec<&str> = ingress
            .filter(|g| selects(&classic.spec, g.name, g.object))
            .map(|g| g.key.as_str())
            .collect();
        let left_out: Vec<String> = classic
            .spec
            .servers
            .iter()
            .filter(|s| !s.is_http())
            .map(|s| {
                format!(
                    "port {}: protocol {} is not supported yet",
                    s.port.number, s.port.protocol
                )
            })
            .collect();
        let (met, reason, message) = match (&serving[..], &left_out[..]) {
            ([], _) => (
                false,
                "NoGateway",
                "its selector takes the pods of no gateway of ours; it has no effect".to_owned(),
            ),
            (by, []) => (true, "Bound", format!("served by {}", by.join(", "))),
            (by, lost) => (
                false,
                "UnsupportedProtocol",
                format!("served by {}, but {}", by.join(", "), lost.join("; ")),
            ),
        };
        let key = ObjectKey::new(Kind::IstioGateway, namespace, name);
        out.statuses
            .condition(key, Condition::new(BOUND, met, reason, message));
    }
}
