//! Finding the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A connection must be there after this.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that says nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// What the command line says about the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// `--kubeconfig` or `KUBECONFIG`
    pub(crate) kubeconfig: Option<PathBuf>,
    /// `--context`
    pub(crate) context: Option<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Client of its API server
    pub(crate) client: Client,
    /// Namespace of the context
    pub(crate) namespace: String,
    /// Address of its API server
    pub(crate) server: String,
}

impl Chosen {
    /// Whether a cluster was named.
    pub(crate) fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The cluster. Nothing is asked of it yet.
    ///
    /// # Errors
    /// If no kubeconfig can be used and this is not a pod.
    pub(crate) async fn connect(&self) -> Result<Cluster> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..Default::default()
        };
        let mut config = match &self.kubeconfig {
            // `KUBECONFIG` may be a list of files, which kube reads from there itself.
            Some(path) if !is_list(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("kubeconfig {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            Some(_) => Config::from_kubeconfig(&options).await?,
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await.context("no cluster to talk to")?,
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        let server = config.cluster_url.to_string();
        Ok(Cluster {
            namespace: config.default_namespace.clone(),
            client: Client::try_from(config).context("client of the API server")?,
            server,
        })
    }
}

fn is_list(path: &Path) -> bool {
    std::env::split_paths(path).count() > 1
}
