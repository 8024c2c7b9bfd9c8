//! Services: ports that say what is spoken on them.

use ambit_crds::Object;
use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Finding;
use super::messages::PORT_NAME;
use super::world::World;

/// Words that a port's name may start with, before a dash, or `appProtocol` be.
const PROTOCOLS: [&str; 15] = [
    "http",
    "http2",
    "https",
    "grpc",
    "grpc-web",
    "tcp",
    "tls",
    "udp",
    "mongo",
    "mysql",
    "redis",
    "kubernetes.io/h2c",
    "kubernetes.io/ws",
    "kubernetes.io/wss",
    "hbone",
];

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    for (key, object) in world.objects() {
        let Object::Service(service) = object else {
            continue;
        };
        // Node proxies carry bytes; only a waypoint needs to know.
        if world.waypoint(service).is_none() {
            continue;
        }
        let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
        for (i, port) in ports.into_iter().flatten().enumerate() {
            if says_protocol(port) {
                continue;
            }
            let name = port.name.as_deref().unwrap_or_default();
            let target = match &port.target_port {
                Some(IntOrString::Int(number)) => number.to_string(),
                Some(IntOrString::String(name)) => name.clone(),
                None => port.port.to_string(),
            };
            found.push(
                Finding::new(
                    &PORT_NAME,
                    key,
                    format!(
                        "port name {name:?} (port: {}, targetPort: {target}) does not say the protocol; \
                         its waypoint finds it out from the first bytes",
                        port.port
                    ),
                )
                .field(format!("spec.ports[{i}].name"))
                .fix("set appProtocol, or begin the name with http, http2, grpc, tls or tcp"),
            );
        }
    }
}

fn says_protocol(port: &ServicePort) -> bool {
    if port.protocol.as_deref().is_some_and(|p| p != "TCP") {
        return true;
    }
    let known = |word: &str| PROTOCOLS.contains(&word.to_ascii_lowercase().as_str());
    match &port.app_protocol {
        Some(word) => known(word),
        None => {
            let name = port.name.as_deref().unwrap_or_default();
            known(name) || known(name.split('-').next().unwrap_or_default())
        }
    }
}
