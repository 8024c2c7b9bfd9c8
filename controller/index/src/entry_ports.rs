//! Ports of entries, and where a service's ports lead at a workload that is no pod.
//! Source: Istio's port resolution for WorkloadEntry: by the name of the service's port.

use crate::ports::{app_protocol_of, container_port, number, service_target};
use crate::services::{Origin, ServiceFact};
use ambit_api::workload as pb;
use ambit_crds::istio::{EntryPort, ServiceEntrySpec, WorkloadEntrySpec};
use k8s_openapi::api::core::v1::{PodSpec, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// (service port, target port).
pub(crate) type Pairs = Vec<(u16, u16)>;

/// Ports that carry TCP.
pub(crate) fn tcp(spec: &ServiceEntrySpec) -> impl Iterator<Item = &EntryPort> {
    spec.ports
        .iter()
        .filter(|port| !port.protocol.eq_ignore_ascii_case("UDP"))
}

/// What is spoken: as declared, else by the port's name.
pub(crate) fn protocol(port: &EntryPort) -> pb::AppProtocol {
    match port.protocol.as_str() {
        "" => app_protocol_of(port.name.split('-').next().unwrap_or_default()),
        declared => app_protocol_of(declared),
    }
}

pub(crate) fn message(port: &EntryPort) -> pb::Port {
    pb::Port {
        service_port: port.number.into(),
        target_port: target(port).into(),
        app_protocol: protocol(port).into(),
    }
}

/// The target port of a service port; the same if there is no such port.
pub(crate) fn target_of(spec: &ServiceEntrySpec, number: u16) -> u16 {
    let mut same = spec.ports.iter().filter(|port| port.number == number);
    same.next().map_or(number, target)
}

fn target(port: &EntryPort) -> u16 {
    port.target_port.unwrap_or(port.number)
}

/// At a pod that an entry selects: its container port of the same name, else the target port.
pub(crate) fn of_pod(spec: &ServiceEntrySpec, pod: &PodSpec) -> Pairs {
    let at = |port: &EntryPort| container_port(&port.name, pod).unwrap_or_else(|| target(port));
    tcp(spec).map(|port| (port.number, at(port))).collect()
}

/// At a workload that is no pod: its own port of that name, else the target port.
pub(crate) fn of_workload(service: &ServiceFact<'_>, workload: &WorkloadEntrySpec) -> Pairs {
    match service.origin {
        Origin::Entry(entry) => {
            let own = |port: &EntryPort| workload.ports.get(&port.name).copied();
            tcp(&entry.spec)
                .map(|port| (port.number, own(port).unwrap_or_else(|| target(port))))
                .collect()
        }
        Origin::Service(object) => of_service(object, workload),
    }
}

fn of_service(object: &Service, workload: &WorkloadEntrySpec) -> Pairs {
    let spec = object.spec.as_ref();
    let at = |port: &ServicePort| match &port.target_port {
        Some(IntOrString::String(name)) if service_target(port) == 0 => {
            workload.ports.get(name).copied()
        }
        _ => {
            let name = port.name.as_deref().unwrap_or_default();
            let own = workload.ports.get(name).copied();
            own.or_else(|| Some(service_target(port)).filter(|n| *n != 0))
        }
    };
    crate::ports::tcp(spec.and_then(|s| s.ports.as_ref()))
        .filter_map(|port| Some((number(port.port)?, at(port)?)))
        .collect()
}
