//! Ports of Kubernetes Services: what is spoken on them, and where they lead in a pod.
//! Source: `Service.spec.ports[]`; Istio's protocol selection by `appProtocol` and port name.

use ambit_api::workload::AppProtocol;
use k8s_openapi::api::core::v1::{Container, PodSpec, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// TCP ports of a Service. We carry nothing else.
pub(crate) fn tcp(ports: Option<&Vec<ServicePort>>) -> impl Iterator<Item = &ServicePort> {
    ports
        .into_iter()
        .flatten()
        .filter(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"))
}

/// A port number of an object; `None` when it is out of range.
pub(crate) fn number(value: i32) -> Option<u16> {
    u16::try_from(value).ok().filter(|n| *n != 0)
}

/// The target port as a service carries it: 0 for a named one, which each endpoint resolves.
pub(crate) fn service_target(port: &ServicePort) -> u16 {
    match &port.target_port {
        None => number(port.port).unwrap_or(0),
        Some(IntOrString::Int(n)) => number(*n).unwrap_or(0),
        Some(IntOrString::String(name)) => name.parse().unwrap_or(0),
    }
}

/// The target port in one pod; `None` when the pod has no container port of that name.
pub(crate) fn pod_target(port: &ServicePort, pod: &PodSpec) -> Option<u16> {
    match service_target(port) {
        0 => match &port.target_port {
            Some(IntOrString::String(name)) => container_port(name, pod),
            _ => None,
        },
        n => Some(n),
    }
}

/// The container port of that name.
pub(crate) fn container_port(name: &str, pod: &PodSpec) -> Option<u16> {
    // An init container that restarts always runs beside the others.
    let sidecars = pod
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let of = |c: &Container| {
        c.ports
            .iter()
            .flatten()
            .filter(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"))
            .find(|p| p.name.as_deref() == Some(name))
            .and_then(|p| number(p.container_port))
    };
    pod.containers.iter().chain(sidecars).find_map(of)
}

/// What is spoken on a port: `appProtocol`, else the port name up to its first dash.
pub(crate) fn app_protocol(port: &ServicePort) -> AppProtocol {
    match &port.app_protocol {
        Some(declared) => app_protocol_of(declared),
        None => {
            let name = port.name.as_deref().unwrap_or_default();
            app_protocol_of(name.split('-').next().unwrap_or_default())
        }
    }
}

/// What a word for it means.
pub(crate) fn app_protocol_of(word: &str) -> AppProtocol {
    match word.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" => AppProtocol::Http11,
        "http2" | "kubernetes.io/h2c" => AppProtocol::Http2,
        "grpc" | "grpc-web" => AppProtocol::Grpc,
        "https" | "tls" | "kubernetes.io/wss" => AppProtocol::Tls,
        "tcp" | "mongo" | "mysql" | "redis" => AppProtocol::Tcp,
        _ => AppProtocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, app: Option<&str>) -> ServicePort {
        ServicePort {
            name: Some(name.into()),
            app_protocol: app.map(str::to_owned),
            port: 80,
            ..Default::default()
        }
    }

    #[test]
    fn app_protocol_beats_the_port_name() {
        for (name, app, expected) in [
            ("http", None, AppProtocol::Http11),
            ("http-web", None, AppProtocol::Http11),
            ("httpx", None, AppProtocol::Unknown),
            ("grpc-api", None, AppProtocol::Grpc),
            ("http", Some("tcp"), AppProtocol::Tcp),
            ("web", Some("kubernetes.io/h2c"), AppProtocol::Http2),
            ("https", None, AppProtocol::Tls),
            ("", None, AppProtocol::Unknown),
        ] {
            assert_eq!(app_protocol(&port(name, app)), expected, "{name} {app:?}");
        }
    }

    #[test]
    fn target_ports_resolve_by_number_and_by_name() {
        let pod: PodSpec = serde_json::from_value(serde_json::json!({
            "containers": [{"name": "a", "ports": [
                {"name": "web", "containerPort": 53, "protocol": "UDP"},
                {"name": "web", "containerPort": 8080}]}],
            "initContainers": [
                {"name": "i", "ports": [{"name": "once", "containerPort": 1}]},
                {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9}]}],
        }))
        .unwrap();
        let target = |t| {
            let mut p = port("", None);
            p.target_port = t;
            (service_target(&p), pod_target(&p, &pod))
        };
        let name = |n: &str| Some(IntOrString::String(n.into()));
        assert_eq!(target(None), (80, Some(80)));
        assert_eq!(target(Some(IntOrString::Int(9080))), (9080, Some(9080)));
        assert_eq!(target(name("web")), (0, Some(8080)));
        assert_eq!(target(name("side")), (0, Some(9)));
        assert_eq!(target(name("once")), (0, None));
        assert_eq!(target(name("none")), (0, None));
    }
}
