//! Settings of the clients of the control plane, and what we say of ourselves.

use crate::config::{Config, PodConfig};
use ambit_api::discovery::Node;
use ambit_hbone::wire::Baggage;
use ambit_identity::CaClientConfig;
use ambit_identity::grpc_tls::{GrpcTlsError, RootSource, TokenSource};
use ambit_model::workload::WorkloadType;
use ambit_xds::ClientConfig;
use ambit_xds::io::client::RootCert;
use prost_types::{Struct, Value, value::Kind};

/// The certificate authority: only our own identity is asked for.
pub(super) fn ca_client(config: &Config) -> CaClientConfig {
    let (server, token) = (config.ca.clone(), config.token.clone());
    CaClientConfig {
        impersonate: false,
        revoked: config.revoked.clone(),
        ..CaClientConfig::node_proxy(server, token)
    }
}

/// The xDS client.
pub(super) async fn xds_client(
    config: &Config,
    types: Vec<&'static str>,
) -> Result<ClientConfig, GrpcTlsError> {
    let mut headers = vec![("clusterid".to_owned(), config.pod.cluster_id.clone())];
    let token_file = match &config.token {
        None => None,
        Some(TokenSource::File(path)) => Some(path.clone()),
        Some(TokenSource::Literal(token)) => {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            None
        }
    };
    let root = match &config.xds.roots {
        RootSource::File(path) => RootCert::File(path.clone()),
        given => RootCert::Inline(given.read().await?),
    };
    Ok(ClientConfig {
        address: config.xds.address.clone(),
        root,
        server_name: config.xds.server_name.clone(),
        token_file,
        headers,
        node: node(config),
        types,
    })
}

/// Node id and metadata as Istio's waypoints send them.
fn node(config: &Config) -> Node {
    let PodConfig {
        ip,
        name,
        namespace,
        ..
    } = &config.pod;
    let text = |value: &str| Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    };
    let fields = [
        ("NAME", text(name)),
        ("NAMESPACE", text(namespace)),
        ("INSTANCE_IPS", text(ip)),
        ("NODE_NAME", text(&config.pod.node)),
        ("CLUSTER_ID", text(&config.pod.cluster_id)),
        ("SERVICE_ACCOUNT", text(&config.pod.service_account)),
        ("NETWORK", text(&config.pod.network)),
        ("GATEWAY", text(&config.gateway)),
    ];
    let domain = &config.pod.cluster_domain;
    Node {
        id: format!("waypoint~{ip}~{name}.{namespace}~{namespace}.svc.{domain}"),
        metadata: Some(Struct {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }),
        ..Node::default()
    }
}

/// What peers put on their metrics about us.
pub(super) fn baggage(config: &Config) -> Baggage {
    let name = config.gateway.rsplit('/').next().unwrap_or_default();
    Baggage {
        cluster: config.pod.cluster_id.as_str().into(),
        namespace: config.pod.namespace.as_str().into(),
        workload: Some((WorkloadType::Deployment, name.into())),
        service: name.into(),
        version: "latest".into(),
        ..Baggage::default()
    }
}
