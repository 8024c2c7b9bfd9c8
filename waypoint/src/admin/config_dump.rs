//! `/config_dump`: routes, clusters with their endpoints joined to workloads, services, certificates.
//! In: a view and the certificates. Out: JSON, each list ordered by name. No keys, no tokens.

use crate::state::View;
use ambit_identity::store::SecretSnapshot;
use ambit_model::ids::ServiceKey;
use ambit_model::route::Cluster;
use ambit_model::workload::Workload;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

/// The dump.
pub(super) fn render(gateway: &str, view: &View, secrets: &[SecretSnapshot]) -> Value {
    let routers = sorted(
        view.routers()
            .map(|r| (format!("{}/{}", r.addressed, r.port), json!(r))),
    );
    let clusters = sorted(
        view.clusters()
            .map(|c| (c.name.to_string(), cluster(view, c))),
    );
    let services = sorted(view.mesh.services().map(|s| (s.key.to_string(), json!(s))));
    let workloads = sorted(
        view.mesh
            .workloads()
            .map(|w| (w.uid.to_string(), workload(w))),
    );
    json!({
        "gateway": gateway,
        "synced": view.is_complete(),
        "generation": view.mesh.generation(),
        "plaintextPorts": view.plaintext_ports(),
        "policies": view.gateway().map(|g| json!(g.policies)),
        "routers": routers,
        "clusters": clusters,
        "services": services,
        "workloads": workloads,
        "certificates": secrets.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn sorted(items: impl Iterator<Item = (String, Value)>) -> Vec<Value> {
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| a.0.cmp(&b.0));
    items.into_iter().map(|(_, value)| value).collect()
}

fn workload(workload: &Workload) -> Value {
    let backs = |(key, ports): (&ServiceKey, &BTreeMap<u16, u16>)| (key.to_string(), json!(ports));
    let services: serde_json::Map<_, _> = workload.services.iter().map(backs).collect();
    json!({
        "uid": workload.uid,
        "name": workload.name,
        "namespace": workload.namespace,
        "addresses": workload.addresses,
        "network": workload.network,
        "identity": workload.identity,
        "tunnel": workload.tunnel,
        "health": workload.health,
        "node": workload.node,
        "canonical": workload.canonical,
        "workloadName": workload.workload_name,
        "services": services,
    })
}

fn cluster(view: &View, cluster: &Cluster) -> Value {
    let members = view
        .endpoints(&cluster.name)
        .map_or(&[][..], |e| &e.endpoints);
    let endpoint = |e: &ambit_model::route::Endpoint| {
        let workload = view.mesh.workload(&e.workload);
        json!({
            "workload": e.workload,
            "targetPort": e.target_port,
            "weight": e.weight,
            "known": workload.is_some(),
            "addresses": workload.map(|w| &w.addresses),
            "health": workload.map(|w| w.health),
            "tunnel": workload.map(|w| w.tunnel),
        })
    };
    json!({ "cluster": cluster, "endpoints": members.iter().map(endpoint).collect::<Vec<_>>() })
}

fn certificate(secret: &SecretSnapshot) -> Value {
    let svid = secret.state.svid.as_ref();
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs())
            .unwrap_or_default()
    };
    json!({
        "identity": secret.identity,
        "state": if svid.is_some() { "Available" } else { "Unavailable" },
        "serialNumber": svid.map(|s| s.serial()),
        "validFrom": svid.map(|s| seconds(s.not_before())),
        "expirationTime": svid.map(|s| seconds(s.not_after())),
        "error": secret.state.error.as_ref().map(|e| ambit_runtime::causes::causes(&**e)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{State, Update};
    use ambit_api::{route as pb, type_urls, workload as wl};
    use prost::Message;

    fn feed(type_url: &str, message: impl Message) -> Update {
        let resources = vec![("name".to_owned(), message.encode_to_vec().into())];
        Update {
            type_url: type_url.into(),
            resources,
            removed: vec![],
            first: true,
        }
    }

    #[test]
    fn endpoints_are_shown_with_what_is_known_of_their_workload() {
        let (state, mut writer) = State::new("shop/waypoint");
        let port = wl::Port {
            service_port: 80,
            target_port: 8080,
            app_protocol: 0,
        };
        let ports = wl::PortList { ports: vec![port] };
        let pod = wl::Workload {
            uid: "c//Pod/shop/web".into(),
            addresses: vec![vec![10, 0, 0, 1]],
            services: [("shop/web".to_owned(), ports)].into(),
            ..Default::default()
        };
        let address = wl::Address {
            r#type: Some(wl::address::Type::Workload(pod)),
        };
        let cluster = pb::Cluster {
            name: "shop/web/80".into(),
            service: "shop/web".into(),
            port: 80,
            ..Default::default()
        };
        let member = |uid: &str| pb::Endpoint {
            workload_uid: uid.into(),
            target_port: 8080,
            weight: 1,
        };
        let members = pb::Endpoints {
            cluster: "shop/web/80".into(),
            endpoints: vec![member("c//Pod/shop/web"), member("gone")],
            gateways: vec![],
        };
        for update in [
            feed(type_urls::ADDRESS, address),
            feed(type_urls::CLUSTER, cluster),
            feed(type_urls::ENDPOINTS, members),
        ] {
            assert_eq!(writer.update(&update), vec![]);
        }
        let dump = render("shop/waypoint", &state.load(), &[]);
        assert_eq!(dump["synced"], false, "routers have not arrived");
        assert_eq!(dump["workloads"][0]["services"]["shop/web"]["80"], 8080);
        let endpoints = &dump["clusters"][0]["endpoints"];
        assert_eq!(endpoints[0]["addresses"][0], "10.0.0.1");
        assert_eq!(endpoints[1]["known"], false);
    }
}
