//! Settings: arguments with environment fallbacks.

use ambit_ca::authority::Lifetimes;
use ambit_ca::caller::ServiceAccount;
use ambit_index::MeshConfig;
use ambit_runtime::env::parse_duration;
use ambit_telemetry::logging::Format;
use anyhow::bail;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Serves mesh configuration and certificates.
#[derive(Debug, Parser)]
#[command(name = "ambit-controller", version)]
pub struct Args {
    /// Directory of Kubernetes, Istio and Gateway API documents.
    #[arg(long, env = "SOURCE_DIR", value_name = "DIR")]
    pub source_dir: PathBuf,
    /// JSON Web Key Set that bearer tokens are verified with.
    #[arg(long, env = "JWKS_FILE", value_name = "FILE")]
    pub jwks: PathBuf,
    /// Directory of the certificate authority; a self-signed root is made in an empty one.
    #[arg(long, env = "CA_DIR", value_name = "DIR")]
    pub ca_dir: PathBuf,
    /// Address of xDS and certificate signing, over TLS.
    #[arg(
        long,
        env = "XDS_ADDR",
        default_value = "0.0.0.0:15012",
        value_name = "IP:PORT"
    )]
    pub xds_addr: SocketAddr,
    /// Address of metrics, readiness and debug.
    #[arg(
        long,
        env = "HTTP_ADDR",
        default_value = "0.0.0.0:15014",
        value_name = "IP:PORT"
    )]
    pub http_addr: SocketAddr,
    /// Id of the cluster, first part of workload uids.
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Domain of service hostnames.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Trust domain of identities.
    #[arg(long, env = "TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// Namespace whose policies apply to the whole mesh.
    #[arg(long, env = "ROOT_NAMESPACE", default_value = "istio-system")]
    pub root_namespace: String,
    /// Service account of node proxies, `<namespace>/<name>`.
    #[arg(
        long,
        env = "CA_TRUSTED_NODE_ACCOUNTS",
        value_delimiter = ',',
        default_value = "istio-system/ztunnel"
    )]
    pub trusted_node_account: Vec<String>,
    /// Image of generated waypoint pods; empty: none are generated.
    #[arg(long, env = "WAYPOINT_IMAGE", default_value = "ambit/waypoint")]
    pub waypoint_image: String,
    /// Lifetime of certificates when a request names none.
    #[arg(long, env = "CERT_TTL", default_value = "24h", value_name = "DURATION")]
    pub cert_ttl: String,
    /// Longest lifetime of a certificate.
    #[arg(
        long,
        env = "MAX_CERT_TTL",
        default_value = "2160h",
        value_name = "DURATION"
    )]
    pub max_cert_ttl: String,
    /// Log levels, such as `info,ambit_index=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// Form of log lines: `plain` or `json`.
    #[arg(long, env = "LOG_FORMAT", default_value = "plain")]
    pub log_format: String,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of documents.
    pub source_dir: PathBuf,
    /// JWKS file.
    pub jwks: PathBuf,
    /// Directory of the certificate authority.
    pub ca_dir: PathBuf,
    /// TLS port; port 0 takes a free one.
    pub xds_addr: SocketAddr,
    /// HTTP port; port 0 takes a free one.
    pub http_addr: SocketAddr,
    /// Settings of the mesh.
    pub mesh: MeshConfig,
    /// Accounts of node proxies.
    pub node_accounts: Vec<ServiceAccount>,
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
}

impl Args {
    /// Form of log lines.
    pub fn log_format(&self) -> Format {
        match self.log_format.as_str() {
            "json" => Format::Json,
            _ => Format::Plain,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// All mistakes in one text.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut mistakes = Vec::new();
        let mut node_accounts = Vec::new();
        for text in &self.trusted_node_account {
            match ServiceAccount::parse(text) {
                Some(account) => node_accounts.push(account),
                None => mistakes.push(format!(
                    "--trusted-node-account: `{text}` is not <namespace>/<name>"
                )),
            }
        }
        let mut duration = |name: &str, text: &str| {
            let parsed = parse_duration(text).filter(|d| !d.is_zero());
            parsed.unwrap_or_else(|| {
                mistakes.push(format!("--{name}: `{text}` is not a duration"));
                Duration::ZERO
            })
        };
        let lifetimes = Lifetimes {
            default: duration("cert-ttl", &self.cert_ttl),
            max: duration("max-cert-ttl", &self.max_cert_ttl),
        };
        if !mistakes.is_empty() {
            bail!("{}", mistakes.join("; "));
        }
        Ok(Config {
            source_dir: self.source_dir.clone(),
            jwks: self.jwks.clone(),
            ca_dir: self.ca_dir.clone(),
            xds_addr: self.xds_addr,
            http_addr: self.http_addr,
            mesh: MeshConfig {
                cluster_id: self.cluster_id.clone(),
                trust_domain: self.trust_domain.clone(),
                cluster_domain: self.cluster_domain.clone(),
                root_namespace: self.root_namespace.clone(),
                waypoint_image: self.waypoint_image.clone(),
                ..MeshConfig::default()
            },
            node_accounts,
            lifetimes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> anyhow::Result<Config> {
        let base = [
            "ambit-controller",
            "--source-dir=d",
            "--jwks=j",
            "--ca-dir=c",
        ];
        Args::try_parse_from(base.iter().chain(more))?.config()
    }

    #[test]
    fn defaults_are_upstreams() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.xds_addr.port(), 15012);
        assert_eq!(config.http_addr.port(), 15014);
        assert_eq!(config.lifetimes.default, Duration::from_secs(24 * 3600));
        assert_eq!(
            config.node_accounts,
            [ServiceAccount::new("istio-system", "ztunnel")]
        );
    }

    #[test]
    fn all_mistakes_are_named_together() {
        let error = parse(&["--trusted-node-account=x", "--cert-ttl=soon"]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("--trusted-node-account") && text.contains("--cert-ttl"),
            "{text}"
        );
        let two = parse(&["--trusted-node-account=a/b", "--trusted-node-account=c/d"]).unwrap();
        assert_eq!(two.node_accounts.len(), 2);
    }
}
