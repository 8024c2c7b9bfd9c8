//! Gateways of networking.istio.io: two that want the same, ports that nobody can reach.

use ambit_crds::istio::IstioGatewaySpec;
use ambit_crds::{Object, ObjectKey};

use super::Finding;
use super::messages::{PORT_NOT_EXPOSED, SAME_SERVER};
use super::world::{World, has_all};

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    let all: Vec<(&ObjectKey, &IstioGatewaySpec)> = world
        .objects()
        .filter_map(|(key, object)| match object {
            Object::IstioGateway(o) => Some((key, &o.spec)),
            _ => None,
        })
        .collect();
    for (i, (key, spec)) in all.iter().enumerate() {
        exposed(world, key, spec, found);
        for (other, theirs) in all.iter().skip(i + 1) {
            if spec.selector == theirs.selector {
                conflict((key, spec), (other, theirs), found);
            }
        }
    }
}

fn conflict(
    (key, spec): (&ObjectKey, &IstioGatewaySpec),
    (other, theirs): (&ObjectKey, &IstioGatewaySpec),
    found: &mut Vec<Finding>,
) {
    for (i, server) in spec.servers.iter().enumerate() {
        let port = server.port.number;
        let mut hosts: Vec<&str> = theirs
            .servers
            .iter()
            .filter(|s| s.port.number == port)
            .flat_map(|s| &s.hosts)
            .filter(|host| server.hosts.contains(host))
            .map(String::as_str)
            .collect();
        hosts.dedup();
        if hosts.is_empty() {
            continue;
        }
        let selector: Vec<String> = spec
            .selector
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let text = |with: &ObjectKey| {
            format!(
                "conflict with gateway {}/{} (selector {}, port {port}, hosts {})",
                with.namespace,
                with.name,
                selector.join(","),
                hosts.join(", ")
            )
        };
        let field = format!("spec.servers[{i}]");
        found.push(Finding::new(&SAME_SERVER, key, text(other)).field(field));
        found.push(Finding::new(&SAME_SERVER, other, text(key)).field("spec.servers"));
    }
}

/// A port is reached through a Service of the pods that serve it.
fn exposed(world: &World, key: &ObjectKey, spec: &IstioGatewaySpec, found: &mut Vec<Finding>) {
    let pods: Vec<&ObjectKey> = world.selected(None, &spec.selector).collect();
    if spec.selector.is_empty() || pods.is_empty() {
        return;
    }
    for (i, server) in spec.servers.iter().enumerate() {
        let port = i32::from(server.port.number);
        let has_port = pods.iter().any(|pod| serves(world, pod, port));
        if !has_port {
            let text = format!("port {port} is in no Service of the pods that serve this gateway");
            found.push(
                Finding::new(&PORT_NOT_EXPOSED, key, text)
                    .field(format!("spec.servers[{i}].port.number"))
                    .fix("add a listener of that port to their Gateway"),
            );
        }
    }
}

fn serves(world: &World, pod: &ObjectKey, port: i32) -> bool {
    let Some(Object::Pod(object)) = world.get(pod.kind.clone(), &pod.namespace, &pod.name) else {
        return false;
    };
    world.objects().any(|(key, service)| {
        let Object::Service(service) = service else {
            return false;
        };
        let Some(spec) = service
            .spec
            .as_ref()
            .filter(|_| key.namespace == pod.namespace)
        else {
            return false;
        };
        let selects = spec.selector.as_ref().is_some_and(|selector| {
            !selector.is_empty() && has_all(object.metadata.labels.as_ref(), selector)
        });
        selects && spec.ports.iter().flatten().any(|p| p.port == port)
    })
}
