//! What only an agent with an API server does: looking up nameservers.
//! In: a client. Out: the capture's nameservers. Owns nothing.
//! Must not happen here: nameservers forgotten because the API server is away.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ambit_ebpf_loader::Capture;
use ambit_runtime::causes::causes;
use ambit_source::kubernetes::{Address, Client, read};
use serde_json::Value;
use tokio::time::sleep;

/// Follows the addresses of the cluster's DNS service, for ever.
pub(super) async fn follow_nameservers(client: Client, capture: Arc<Capture>) {
    let address = Address::new("v1", "Service", "services")
        .within("kube-system")
        .named("kube-dns");
    let mut known = Vec::new();
    let mut told = false;
    loop {
        let found = match read(&client, &address).await {
            Ok(Some(service)) => cluster_ips(&service),
            Ok(None) => Vec::new(),
            Err(error) => {
                tracing::warn!(error = %causes(&error), "the cluster's nameserver cannot be looked up");
                sleep(AGAIN).await;
                continue;
            }
        };
        if found.is_empty() {
            if !told {
                tracing::warn!(
                    "no nameserver address in kube-system/kube-dns: dns is not captured"
                );
                told = true;
            }
        } else if found != known {
            match capture.set_nameservers(&found) {
                Ok(()) => {
                    tracing::info!(nameservers = ?found, "dns is captured");
                    known = found;
                }
                Err(error) => {
                    tracing::error!(error = %causes(&error), "nameservers cannot be set");
                }
            }
        }
        sleep(if known.is_empty() { AGAIN } else { LOOK }).await;
    }
}

fn cluster_ips(service: &Value) -> Vec<Ipv4Addr> {
    let spec = &service["spec"];
    let mut texts: Vec<&Value> = spec["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if texts.is_empty() {
        texts.push(&spec["clusterIP"]);
    }
    let addresses = texts.into_iter().filter_map(Value::as_str);
    // `None` of a headless service is no address.
    addresses.filter_map(|text| text.parse().ok()).collect()
}

const AGAIN: Duration = Duration::from_secs(5);
/// A Service that is made again may have another address.
const LOOK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_addresses_of_version_four_count() {
        for (spec, expected) in [
            (json!({"clusterIPs": ["10.96.0.10", "fd00::a"]}), 1),
            (json!({"clusterIP": "10.96.0.10"}), 1),
            (json!({"clusterIP": "None"}), 0),
            (json!({"clusterIPs": "x"}), 0),
            (json!(null), 0),
        ] {
            let found = cluster_ips(&json!({"spec": spec}));
            assert_eq!(found.len(), expected, "{spec}");
        }
    }
}
