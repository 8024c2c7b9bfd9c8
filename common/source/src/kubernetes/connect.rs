//! Finding the API server: the pod's own account, or a kubeconfig.

use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// A connection must be there after this.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that says nothing for this long is gone. Watches rest for minutes: they end after 290 s.
const SILENCE: Duration = Duration::from_secs(300);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A kubeconfig that was named cannot be used.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: KubeconfigError,
    },
    /// Neither the account of a pod nor a kubeconfig is there.
    #[error("not in a cluster ({in_cluster}), and no kubeconfig to use")]
    Nowhere {
        /// Why the account of the pod cannot be used.
        in_cluster: InClusterError,
        /// Why the default kubeconfig cannot be used.
        #[source]
        source: KubeconfigError,
    },
    /// The settings make no client.
    #[error("cannot make a client of the API server")]
    Client {
        /// Cause.
        #[source]
        source: kube::Error,
    },
}

/// A client of the API server: by the kubeconfig named, else by the account of the pod this runs in,
/// else by `KUBECONFIG` or `~/.kube/config`. Nothing is asked of the server yet.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(kubeconfig: Option<&Path>) -> Result<kube::Client, ConnectError> {
    let options = KubeConfigOptions::default();
    let mut config = match kubeconfig {
        Some(path) => named(path, &options).await?,
        None => match Config::incluster() {
            Ok(config) => config,
            Err(in_cluster) => Config::from_kubeconfig(&options)
                .await
                .map_err(|source| ConnectError::Nowhere { in_cluster, source })?,
        },
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    kube::Client::try_from(config).map_err(|source| ConnectError::Client { source })
}

async fn named(path: &Path, options: &KubeConfigOptions) -> Result<Config, ConnectError> {
    let failed = |source| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    Config::from_custom_kubeconfig(kubeconfig, options)
        .await
        .map_err(failed)
}
