//! `/config_dump` in the shape `istioctl ztunnel-config` reads. Pure.
//! In: snapshot, certificates, pods, live connections. Out: one JSON document.
//! Spec: istioctl `configdump/api.go`, field names there.

use crate::gather;
use crate::pod::Pod;
use crate::thread::ConnectionView;
use crate::worker::Shared;
use ambit_identity::store::SecretSnapshot;
use ambit_identity::{CertificateFacts, Svid};
use ambit_model::Snapshot;
use ambit_model::authorization::{Authorization, Match, PolicyAction, PolicyScope, StringMatch};
use ambit_model::service::{IpFamilies, LoadBalancingMode, Service};
use ambit_model::waypoint::{GatewayAddress, GatewayDestination};
use ambit_model::workload::{Health, TunnelProtocol, Workload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// The whole document.
pub fn render(shared: &Shared, pods: &[Arc<Pod>], live: &[ConnectionView]) -> Value {
    let snapshot = shared.state.load();
    let mut workloads: Vec<_> = snapshot.workloads().collect();
    workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
    let mut services: Vec<_> = snapshot.services().collect();
    services.sort_by(|a, b| a.key.cmp(&b.key));
    let mut policies: Vec<_> = snapshot.policies().collect();
    policies.sort_by(|a, b| a.key.cmp(&b.key));
    let config = &shared.config;
    json!({
        "workloads": workloads.into_iter().map(|w| workload(w)).collect::<Vec<_>>(),
        "services": services.into_iter().map(|s| service(&snapshot, s)).collect::<Vec<_>>(),
        "policies": policies.into_iter().map(|p| policy(p)).collect::<Vec<_>>(),
        "stagedServices": {},
        "staticConfig": { "workloads": [], "policies": [], "services": [] },
        "version": { "version": ambit_runtime::build_info::VERSION, "component": "ztunnel" },
        "config": {
            "clusterId": config.node.cluster_id,
            "clusterDomain": config.node.cluster_domain,
            "localNode": config.node.node_name,
            "network": config.node.network,
            "xdsAddress": config.xds.as_ref().map(|e| &e.address),
            "caAddress": config.ca.address,
            "numWorkerThreads": config.workers,
            "dnsProxy": config.dns.enabled,
            "nameservers": config.dns.nameservers,
        },
        "generation": snapshot.generation(),
        "synced": {
            "addresses": snapshot.synced().addresses,
            "authorizations": snapshot.synced().authorizations,
        },
        "certificates": shared.secrets.snapshot().iter().map(certificate).collect::<Vec<_>>(),
        "workloadState": states(shared, pods, live),
    })
}

fn workload(w: &Workload) -> Value {
    json!({
        "uid": w.uid,
        "workloadIps": w.addresses,
        "waypoint": w.waypoint.as_ref().map(gateway),
        "networkGateway": w.network_gateway.as_ref().map(gateway),
        "protocol": match w.tunnel {
            TunnelProtocol::Hbone => "HBONE",
            TunnelProtocol::None => "TCP",
        },
        "name": w.name,
        "namespace": w.namespace,
        "serviceAccount": w.identity.service_account(),
        "trustDomain": w.identity.trust_domain(),
        "workloadName": w.workload_name,
        "workloadType": w.workload_type.as_str(),
        "canonicalName": w.canonical.name,
        "canonicalRevision": w.canonical.revision,
        "clusterId": w.cluster_id,
        "locality": w.locality,
        "node": w.node,
        "network": w.network,
        "status": match w.health {
            Health::Healthy => "Healthy",
            Health::Unhealthy => "Unhealthy",
        },
        "hostname": w.hostname,
        "applicationTunnel": w.application_tunnel.map(|t| json!({
            "protocol": if t.proxy_protocol { "PROXY" } else { "NONE" },
            "port": t.port,
        })),
        "authorizationPolicies": w.policies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "services": w.services.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "capacity": w.capacity,
    })
}

fn service(snapshot: &Snapshot, s: &Service) -> Value {
    let ports: Map<String, Value> = s
        .ports
        .iter()
        .map(|(port, to)| (port.to_string(), json!(to.target_port)))
        .collect();
    let endpoints: Map<String, Value> = snapshot
        .endpoints(&s.key)
        .map(|w| {
            let port = w.services.get(&s.key).map(|ports| {
                ports
                    .iter()
                    .map(|(port, to)| (port.to_string(), json!(to)))
                    .collect::<Map<_, _>>()
            });
            let endpoint = json!({
                "workloadUid": w.uid,
                "service": s.key.to_string(),
                "port": port,
                "status": if w.health == Health::Healthy { "Healthy" } else { "Unhealthy" },
            });
            (w.uid.to_string(), endpoint)
        })
        .collect();
    json!({
        "name": s.name,
        "namespace": s.key.namespace,
        "hostname": s.key.hostname,
        "vips": s.addresses.iter().map(|a| match a.single() {
            Some(single) => single.to_string(),
            None => format!("{}/{}", a.network, a.block),
        }).collect::<Vec<_>>(),
        "ports": ports,
        "endpoints": endpoints,
        "subjectAltNames": s.subject_alt_names,
        "waypoint": s.waypoint.as_ref().map(gateway),
        "loadBalancer": {
            "mode": match s.load_balancing.mode {
                LoadBalancingMode::Any => "Standard",
                LoadBalancingMode::Strict => "Strict",
                LoadBalancingMode::Failover => "Failover",
                LoadBalancingMode::Passthrough => "Passthrough",
            },
            "routingPreferences": s.load_balancing.preference,
            "healthPolicy": if s.load_balancing.allow_unhealthy { "AllowAll" } else { "OnlyHealthy" },
        },
        "ipFamilies": match s.ip_families {
            IpFamilies::Automatic => "",
            IpFamilies::V4 => "IPv4",
            IpFamilies::V6 => "IPv6",
            IpFamilies::Dual => "Dual",
        },
    })
}

fn gateway(g: &GatewayAddress) -> Value {
    let destination = match &g.destination {
        GatewayDestination::Hostname(key) => key.to_string(),
        GatewayDestination::Address(address) => address.to_string(),
    };
    json!({ "destination": destination, "hboneMtlsPort": g.hbone_port })
}

fn policy(p: &Authorization) -> Value {
    let rules: Vec<Vec<Vec<Value>>> = p
        .rules
        .iter()
        .map(|rule| {
            rule.clauses
                .iter()
                .map(|c| c.matches.iter().map(one_match).collect())
                .collect()
        })
        .collect();
    json!({
        "name": p.key.name,
        "namespace": p.key.namespace,
        "scope": match p.scope {
            PolicyScope::Global => "Global",
            PolicyScope::Namespace => "Namespace",
            PolicyScope::WorkloadSelector => "WorkloadSelector",
        },
        "action": match p.action {
            PolicyAction::Allow => "Allow",
            PolicyAction::Deny => "Deny",
        },
        "rules": rules,
        "dryRun": p.dry_run,
    })
}

fn one_match(m: &Match) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, values: Vec<Value>| {
        if !values.is_empty() {
            out.insert(name.to_owned(), Value::Array(values));
        }
    };
    for (name, values) in [
        ("namespaces", &m.namespaces),
        ("notNamespaces", &m.not_namespaces),
        ("principals", &m.principals),
        ("notPrincipals", &m.not_principals),
    ] {
        put(name, values.iter().map(string).collect());
    }
    for (name, values) in [
        ("sourceIps", &m.source_ips),
        ("notSourceIps", &m.not_source_ips),
        ("destinationIps", &m.destination_ips),
        ("notDestinationIps", &m.not_destination_ips),
    ] {
        put(
            name,
            values
                .iter()
                .map(|block| json!(block.to_string()))
                .collect(),
        );
    }
    for (name, values) in [
        ("destinationPorts", &m.destination_ports),
        ("notDestinationPorts", &m.not_destination_ports),
    ] {
        put(name, values.iter().map(|port| json!(port)).collect());
    }
    for (name, values) in [
        ("serviceAccounts", &m.service_accounts),
        ("notServiceAccounts", &m.not_service_accounts),
    ] {
        let account = |a: &ambit_model::authorization::ServiceAccountMatch| json!({ "namespace": a.namespace, "serviceAccount": a.service_account });
        put(name, values.iter().map(account).collect());
    }
    Value::Object(out)
}

fn string(s: &StringMatch) -> Value {
    match s {
        StringMatch::Exact(text) => json!({ "Exact": text }),
        StringMatch::Prefix(text) => json!({ "Prefix": text }),
        StringMatch::Suffix(text) => json!({ "Suffix": text }),
        StringMatch::Presence => json!({ "Presence": [] }),
    }
}

fn certificate(secret: &SecretSnapshot) -> Value {
    let state = match (&secret.state.svid, &secret.state.error) {
        (Some(_), _) => "Available".to_owned(),
        (None, Some(error)) => {
            format!("Unavailable: {}", ambit_runtime::causes::causes(&**error))
        }
        (None, None) => "Initializing".to_owned(),
    };
    json!({
        "identity": secret.identity,
        "state": state,
        "certChain": secret.state.svid.as_deref().map(chain).unwrap_or_default(),
        "rootCerts": secret.state.svid.as_deref().map(roots).unwrap_or_default(),
    })
}

fn chain(svid: &Svid) -> Vec<Value> {
    svid.chain().iter().map(|der| one(der.as_ref())).collect()
}

fn roots(svid: &Svid) -> Vec<Value> {
    let roots = svid.bundle().roots();
    roots.iter().map(|der| one(der.as_ref())).collect()
}

/// One certificate, whose number upstream writes in decimal.
fn one(der: &[u8]) -> Value {
    let mut entry = json!({ "pem": pem(der) });
    if let Some(facts) = CertificateFacts::of(der) {
        entry["serialNumber"] = json!(facts.serial);
        entry["validFrom"] = json!(time(facts.not_before));
        entry["expirationTime"] = json!(time(facts.not_after));
    }
    entry
}

/// PEM in base64, as upstream writes it.
fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    STANDARD.encode(text)
}

fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|t| format!("{t:.0}"))
        .unwrap_or_default()
}

fn states(shared: &Shared, pods: &[Arc<Pod>], live: &[ConnectionView]) -> Map<String, Value> {
    let of = |pod: &Pod| {
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for view in live.iter().filter(|view| view.pod == pod.uid) {
            let entry = json!({
                "src": view.src,
                "originalDst": view.original_dst,
                "actualDst": view.actual_dst,
                "protocol": view.protocol,
            });
            if view.direction == "inbound" {
                inbound.push(entry)
            } else {
                outbound.push(entry)
            }
        }
        let own = gather::find(&shared.state, pod).ok();
        json!({
            "state": "Up",
            "connections": { "inbound": inbound, "outbound": outbound },
            "info": {
                "name": pod.identity.name,
                "namespace": pod.identity.namespace,
                "trustDomain": own.as_ref().map_or("", |o| o.workload.identity.trust_domain()),
                "serviceAccount": pod.identity.service_account,
            },
        })
    };
    pods.iter()
        .map(|pod| (pod.uid.to_string(), of(pod)))
        .collect()
}
