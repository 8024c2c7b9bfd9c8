//! A connection to a port of a pod, through the API server.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Cluster;

/// A connection to a pod's port.
pub(crate) struct Forwarded<S, E> {
    /// The bytes
    pub(crate) stream: S,
    /// What the kubelet says when it goes wrong, if it says anything
    pub(crate) error: E,
}

impl Cluster {
    /// Opens the connection. It arrives at the pod from the pod's own loopback.
    ///
    /// # Errors
    /// If the server or the kubelet refuses.
    pub(crate) async fn forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<
        Forwarded<
            impl AsyncRead + AsyncWrite + Unpin + use<>,
            impl Future<Output = Option<String>> + use<>,
        >,
    > {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut forwarder = api
            .portforward(pod, &[port])
            .await
            .with_context(|| format!("port {port} of pod {namespace}/{pod}"))?;
        let stream = forwarder.take_stream(port);
        let error = forwarder.take_error(port);
        Ok(Forwarded {
            stream: stream.context("the port was not opened")?,
            error: error.context("the port was not opened")?,
        })
    }
}
