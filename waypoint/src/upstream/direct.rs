//! Pods that are addressed themselves, not by a service (`istio.io/waypoint-for: workload`).
//! In: the address. Out: a router with one destination, and a cluster with one endpoint: that pod.
//! Nothing chooses between endpoints and no route applies; everything else is as for services.

use ambit_api::route as pb;
use ambit_model::convert;
use ambit_model::ids::ClusterName;
use ambit_model::route::{Cluster, Router};
use ambit_model::workload::Workload;
use std::net::SocketAddr;
use std::sync::Arc;

/// Names of these clusters begin so; no other does, because no namespace has a colon in its name.
const PREFIX: &str = "pod:";

/// The cluster of one address.
fn name(to: SocketAddr) -> String {
    format!("{PREFIX}{to}")
}

/// The address of such a cluster; `None`: it is one of the controller's.
pub(crate) fn address(name: &ClusterName) -> Option<SocketAddr> {
    name.as_str().strip_prefix(PREFIX)?.parse().ok()
}

/// What is done with a connection to `to`, which is `workload`.
pub(crate) fn router(gateway: &str, workload: &Workload, to: SocketAddr) -> Option<Arc<Router>> {
    let only = || {
        vec![pb::WeightedCluster {
            cluster: name(to),
            weight: 1,
            ..Default::default()
        }]
    };
    let forward = pb::Forward { clusters: only() };
    let http = pb::HttpRoute {
        name: "pod".into(),
        action: Some(pb::http_route::Action::Forward(forward)),
        ..Default::default()
    };
    let tcp = pb::TcpRoute {
        clusters: only(),
        ..Default::default()
    };
    let router = pb::Router {
        gateway: gateway.to_owned(),
        service: owner(workload),
        port: to.port().into(),
        http: vec![http],
        tcp: vec![tcp],
        ..Default::default()
    };
    convert::route::router(router).ok().map(Arc::new)
}

/// Its cluster.
pub(crate) fn cluster(workload: &Workload, to: SocketAddr) -> Option<Arc<Cluster>> {
    let cluster = pb::Cluster {
        name: name(to),
        service: owner(workload),
        port: to.port().into(),
        ..Default::default()
    };
    convert::route::cluster(cluster).ok().map(Arc::new)
}

fn owner(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_address_and_are_no_others() {
        for text in ["10.244.1.5:80", "[fd00::1]:65535"] {
            let to: SocketAddr = text.parse().unwrap();
            assert_eq!(address(&name(to).as_str().into()), Some(to));
        }
        for other in [
            "default/web.default.svc.cluster.local/80",
            "pod:",
            "pod:web:80",
        ] {
            assert_eq!(address(&other.into()), None, "{other}");
        }
    }
}
