//! Settings: arguments with environment fallbacks.

mod authority;
mod external;

pub use authority::{AuthorityArgs, AuthorityConfig};
pub use external::{ExternalArgs, ExternalConfig};

use ambit_api::ports;
use ambit_ca::caller::ServiceAccount;
use ambit_identity::Compliance;
use ambit_index::{DEFAULT_REVISION, MeshConfig, WaypointForm};
use ambit_telemetry::logging::Format;
use anyhow::bail;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves mesh configuration and certificates.
#[derive(Debug, Parser)]
#[command(name = "ambit-controller", version)]
pub struct Args {
    /// Directory of Kubernetes, Istio and Gateway API documents, instead of an API server.
    #[arg(long, env = "SOURCE_DIR", value_name = "DIR", requires_all = ["jwks", "ca_dir"])]
    pub source_dir: Option<PathBuf>,
    /// JSON Web Key Set that bearer tokens are verified with; with a directory only.
    #[arg(long, env = "JWKS_FILE", value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Directory of the certificate authority; a self-signed root is made in an empty one. With a
    /// directory of documents only.
    #[arg(long, env = "CA_DIR", value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// How to reach the API server, outside of a cluster.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace the controller runs in: of its Secret, its Lease and its Service.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Which control plane this is, where several run beside one another; empty is `default`.
    #[arg(long, env = "REVISION", default_value = DEFAULT_REVISION)]
    pub revision: String,
    /// Network of the cluster, unless the namespace of the controller names one
    /// (`topology.istio.io/network`).
    #[arg(long, env = "NETWORK", default_value = "")]
    pub network: String,
    /// Name of this replica, unlike that of any other.
    #[arg(long, env = "POD_NAME", default_value = "ambit-controller")]
    pub pod_name: String,
    /// Directory of a plugged-in certificate authority; used when it holds `ca-key.pem`.
    #[arg(
        long,
        env = "CACERTS_DIR",
        default_value = "/etc/cacerts",
        value_name = "DIR"
    )]
    pub cacerts_dir: PathBuf,
    /// Whether the roots are written as a ClusterTrustBundle, too; with an API server only.
    #[arg(
        long,
        env = "ENABLE_CLUSTER_TRUST_BUNDLE_API",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub cluster_trust_bundle: bool,
    /// Address of the validation webhook, over TLS; with an API server only.
    #[arg(
        long,
        env = "WEBHOOK_ADDR",
        default_value = "0.0.0.0:15017",
        value_name = "IP:PORT"
    )]
    pub webhook_addr: SocketAddr,
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
    /// Key exchanges of handshakes, here and in generated waypoints: `pqc` takes post-quantum ones alone.
    #[arg(long, env = "COMPLIANCE_POLICY", value_name = "POLICY")]
    pub compliance_policy: Option<Compliance>,
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
    /// The certificate authority.
    #[command(flatten)]
    pub authority: AuthorityArgs,
    /// An authority outside.
    #[command(flatten)]
    pub external: ExternalArgs,
    /// Log levels, such as `info,ambit_index=debug`. What the client of the API server says is said
    /// again, with its object, by whoever asked.
    #[arg(long, env = "RUST_LOG", default_value = "info,kube_client=off")]
    pub log: String,
    /// Form of log lines: `plain` or `json`.
    #[arg(long, env = "LOG_FORMAT", default_value = "plain")]
    pub log_format: String,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where objects come from.
    pub source: Source,
    /// Namespace the controller runs in.
    pub namespace: String,
    /// TLS port; port 0 takes a free one.
    pub xds_addr: SocketAddr,
    /// HTTP port; port 0 takes a free one.
    pub http_addr: SocketAddr,
    /// Which key exchanges handshakes may use.
    pub compliance: Compliance,
    /// Settings of the mesh.
    pub mesh: MeshConfig,
    /// Accounts of node proxies.
    pub node_accounts: Vec<ServiceAccount>,
    /// How the certificate authority is kept.
    pub authority: AuthorityConfig,
}

/// Where objects come from and statuses go, and what comes with it.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory.
    Directory {
        /// Of documents.
        dir: PathBuf,
        /// JWKS file.
        jwks: PathBuf,
        /// Directory of the certificate authority.
        ca_dir: PathBuf,
    },
    /// An API server.
    Cluster(ClusterConfig),
}

/// Settings with an API server.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Kubeconfig; `None` takes the account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Name of this replica.
    pub pod_name: String,
    /// Directory of a plugged-in certificate authority.
    pub cacerts_dir: PathBuf,
    /// Address of the webhook; port 0 takes a free one.
    pub webhook_addr: SocketAddr,
    /// Whether the roots are written as a ClusterTrustBundle, too.
    pub trust_bundle: bool,
    /// Who signs instead of us; `None`: nobody does.
    pub external: Option<ExternalConfig>,
}

impl Args {
    fn source(&self, external: Option<ExternalConfig>) -> Source {
        match (&self.source_dir, &self.jwks, &self.ca_dir) {
            (Some(dir), Some(jwks), Some(ca_dir)) => Source::Directory {
                dir: dir.clone(),
                jwks: jwks.clone(),
                ca_dir: ca_dir.clone(),
            },
            _ => Source::Cluster(ClusterConfig {
                kubeconfig: self.kubeconfig.clone(),
                pod_name: self.pod_name.clone(),
                cacerts_dir: self.cacerts_dir.clone(),
                webhook_addr: self.webhook_addr,
                trust_bundle: self.cluster_trust_bundle,
                external,
            }),
        }
    }

    fn waypoints(&self) -> WaypointForm {
        match self.source_dir {
            Some(_) => WaypointForm::Pods,
            None => WaypointForm::Deployments {
                control_plane: format!(
                    "https://{}.{}.svc:{}",
                    of_revision("istiod", self.revision()),
                    self.namespace,
                    ports::XDS
                ),
            },
        }
    }

    fn revision(&self) -> &str {
        match self.revision.trim() {
            "" => DEFAULT_REVISION,
            revision => revision,
        }
    }

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
        if !is_name(self.revision()) {
            let given = &self.revision;
            mistakes.push(format!("--revision: `{given}` is no name of an object"));
        }
        let authority = self.authority.config(&mut mistakes);
        let external = (self.external).config(self.source_dir.is_none(), &mut mistakes);
        if !mistakes.is_empty() {
            bail!("{}", mistakes.join("; "));
        }
        Ok(Config {
            source: self.source(external),
            namespace: self.namespace.clone(),
            xds_addr: self.xds_addr,
            http_addr: self.http_addr,
            compliance: self.compliance_policy.unwrap_or_default(),
            mesh: MeshConfig {
                cluster_id: self.cluster_id.clone(),
                trust_domain: self.trust_domain.clone(),
                cluster_domain: self.cluster_domain.clone(),
                root_namespace: self.root_namespace.clone(),
                system_namespace: self.namespace.clone(),
                revision: self.revision().to_owned(),
                network: self.network.clone(),
                compliance_policy: self.compliance_policy.unwrap_or_default().name(),
                waypoint_image: self.waypoint_image.clone(),
                waypoints: self.waypoints(),
                ..MeshConfig::default()
            },
            node_accounts,
            authority,
        })
    }
}

/// What an object of the controller is called in this revision.
pub(crate) fn of_revision(name: &str, revision: &str) -> String {
    match revision {
        DEFAULT_REVISION => name.to_owned(),
        revision => format!("{name}-{revision}"),
    }
}

/// Whether it can be a part of names (RFC 1123 label, short enough to follow another word).
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=40).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
        assert_eq!(
            config.authority.lifetimes.default,
            Duration::from_secs(24 * 3600)
        );
        assert_eq!(
            config.node_accounts,
            [ServiceAccount::new("istio-system", "ztunnel")]
        );
    }

    #[test]
    fn without_a_directory_it_is_a_cluster_and_a_directory_needs_its_keys() {
        let args = Args::try_parse_from(["ambit-controller", "--namespace=mesh"]).unwrap();
        let config = args.config().unwrap();
        assert!(matches!(config.source, Source::Cluster(_)));
        assert_eq!(
            config.mesh.waypoints,
            WaypointForm::Deployments {
                control_plane: "https://istiod.mesh.svc:15012".to_owned()
            }
        );
        assert!(Args::try_parse_from(["ambit-controller", "--source-dir=d"]).is_err());
        let config = parse(&[]).unwrap();
        assert!(matches!(config.source, Source::Directory { .. }));
        assert_eq!(config.mesh.waypoints, WaypointForm::Pods);
    }

    #[test]
    fn a_revision_has_services_of_its_own() {
        let config = |revision: &str| {
            let revision = format!("--revision={revision}");
            let args = ["ambit-controller", "--namespace=mesh", &revision];
            Args::try_parse_from(args).unwrap().config()
        };
        let waypoints = |host: &str| WaypointForm::Deployments {
            control_plane: format!("https://{host}.mesh.svc:15012"),
        };
        let canary = config("1-30").unwrap().mesh;
        assert_eq!(canary.waypoints, waypoints("istiod-1-30"));
        assert_eq!(
            (canary.revision.as_str(), canary.system_namespace.as_str()),
            ("1-30", "mesh")
        );
        let default = config("").unwrap().mesh;
        assert_eq!(default.waypoints, waypoints("istiod"));
        assert_eq!(default.revision, "default");
        assert!(config("a.b").is_err() && config("-a").is_err());
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
