//! Settings of the clients of the control plane.

use crate::config::{Config, ControlEndpoint, NodeConfig, RootCertificate, Token};
use ambit_api::discovery::Node;
use ambit_identity::grpc_tls::{GrpcServer, RootSource, TokenSource};
use ambit_xds::ClientConfig;
use ambit_xds::io::client::RootCert;
use prost_types::{Struct, Value, value::Kind};

/// The certificate authority.
pub(super) fn ca_server(config: &Config) -> GrpcServer {
    let ControlEndpoint {
        address,
        root,
        server_name,
    } = config.ca.clone();
    let roots = match root {
        RootCertificate::File(path) => RootSource::File(path),
        RootCertificate::Inline(pem) => RootSource::Pem(pem),
    };
    GrpcServer {
        address,
        roots,
        server_name,
    }
}

/// Our credential.
pub(super) fn token(config: &Config) -> Option<TokenSource> {
    match &config.token {
        Token::Absent => None,
        Token::File(path) => Some(TokenSource::File(path.clone())),
        Token::Literal(token) => Some(TokenSource::Literal(token.clone())),
    }
}

/// The xDS client; `None` when it is switched off.
pub(super) fn xds_client(config: &Config, types: Vec<&'static str>) -> Option<ClientConfig> {
    let ControlEndpoint {
        address,
        root,
        server_name,
    } = config.xds.clone()?;
    let mut headers = vec![("clusterid".to_owned(), config.node.cluster_id.clone())];
    let token_file = match &config.token {
        Token::Absent => None,
        Token::File(path) => Some(path.clone()),
        Token::Literal(token) => {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            None
        }
    };
    Some(ClientConfig {
        address,
        root: match root {
            RootCertificate::File(path) => RootCert::File(path),
            RootCertificate::Inline(pem) => RootCert::Inline(pem),
        },
        server_name,
        token_file,
        headers,
        node: node(&config.node),
        types,
    })
}

/// Node id and metadata as upstream's node proxy sends them.
fn node(config: &NodeConfig) -> Node {
    let NodeConfig {
        instance_ip,
        pod_name,
        pod_namespace,
        ..
    } = config;
    let text = |value: &str| Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    };
    let fields = [
        ("NAME", text(pod_name)),
        ("NAMESPACE", text(pod_namespace)),
        ("INSTANCE_IPS", text(instance_ip)),
        ("NODE_NAME", text(&config.node_name)),
        ("CLUSTER_ID", text(&config.cluster_id)),
        ("SERVICE_ACCOUNT", text(&config.service_account)),
        ("NETWORK", text(&config.network)),
    ];
    let domain = &config.cluster_domain;
    Node {
        id: format!(
            "ztunnel~{instance_ip}~{pod_name}.{pod_namespace}~{pod_namespace}.svc.{domain}"
        ),
        metadata: Some(Struct {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }),
        ..Node::default()
    }
}
